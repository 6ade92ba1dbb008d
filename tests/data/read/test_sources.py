"""Tables from files, globs and frames."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrec import UserError
from polyrec.core.files import write_parquet
from polyrec.data.read.sources import read

FRAME = pl.DataFrame({"id": [1, 2], "name": ["é", None], "tags": [["a"], ["b", "c"]]})
FLAT = FRAME.drop("tags")


class TestFrames:
    @pytest.mark.parametrize(
        "frame",
        [FRAME, FRAME.lazy(), FRAME.to_arrow(), FRAME.to_arrow().to_batches()[0]],
        ids=["polars", "lazy", "table", "batch"],
    )
    def test_of_every_library(self, frame):
        assert read(frame).equals(FRAME)

    def test_of_pandas_without_its_index(self):
        frame = pd.DataFrame({"id": [1, 2], "name": ["é", None]}, index=["x", "y"])
        assert read(frame).equals(FLAT)

    def test_of_pandas_with_nan_as_null(self):
        frame = pd.DataFrame({"stars": [4.5, np.nan], "kind": pd.Categorical(["a", None])}, index=pd.Index([7, 8], name="id"))
        assert read(frame).cast({"kind": pl.String}).rows() == [(4.5, "a"), (None, None)]

    def test_with_two_equal_columns(self):
        table = pa.table({"a": [1, 2], "b": [1, 2]})
        for frame in (table, table.to_batches()[0]):
            assert read(frame).rows() == [(1, 1), (2, 2)]

    def test_that_only_speak_arrow(self):
        class Frame:
            def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
                return FRAME.to_arrow().__arrow_c_stream__(requested_schema)

        assert read(Frame()).equals(FRAME)

    def test_with_extension_types_as_they_are_stored(self):
        tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(6, dtype=np.float32).reshape(2, 3))
        assert read(pa.table({"v": tensors})).schema == {"v": pl.Array(pl.Float32, 3)}

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (pd.DataFrame({"n": [1, 2], "mixed": ["one", 2]}), "expected columns that convert to Arrow, found .*column mixed"),
            (pd.DataFrame([[1, 2]], columns=[1, "1"]), "column '1' of the data: expected one column of this name"),
            (
                pa.table([[1], [2], [3]], names=["a", "a", "a"]),
                "column 'a' of the data: expected one column of this name, found 3",
            ),
            (pl.LazyFrame({"a": [1]}).select("b"), 'found unable to find column "b"'),
            (pl.scan_csv("nowhere.csv"), "expected a lazy frame that can be collected, found No such file"),
            (pl.DataFrame(), "expected a table with rows, found 0 rows and 0 columns"),
            (FRAME.clear(), "found 0 rows and 3 columns"),
            (pa.table({"id": pa.array([], pa.int64())}), "found 0 rows"),
            (pd.DataFrame({"id": [1, "one"]}), "expected columns that convert to Arrow"),
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a' of the data: expected one column of this name"),
            ({"id": [1]}, "expected a path, a Query, or a frame .* found a dict"),
            (3, "found a int"),
        ],
    )
    def test_that_hold_no_table_are_refused(self, source, message: str):
        with pytest.raises(UserError, match=message):
            read(source)


class TestFiles:
    @pytest.mark.parametrize("ending", ["parquet", "arrow", "feather", "ipc"])
    def test_of_every_format(self, tmp_path: Path, ending: str):
        path = tmp_path / f"a.{ending}"
        FRAME.write_parquet(path) if ending == "parquet" else FRAME.write_ipc(path)
        assert read(path).equals(FRAME)
        assert read(str(path)).equals(FRAME)

    def test_csv_with_dates(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text("id,when\n1,2026-01-31\n2,2026-02-01\n")
        assert read(tmp_path / "a.csv").schema == {"id": pl.Int64, "when": pl.Date}

    def test_csv_is_typed_by_all_of_its_rows(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text("stars\n" + "4\n" * 500 + "4.5\n")
        assert read(tmp_path / "a.csv")["stars"][-2:].to_list() == [4.0, 4.5]

    def test_arrow_streams(self, tmp_path: Path):
        FRAME.write_ipc_stream(tmp_path / "a.arrow")
        assert read(tmp_path / "a.arrow").equals(FRAME)

    def test_arrow_keeps_the_types_of_polars(self, tmp_path: Path):
        frame = pl.DataFrame({"size": pl.Series(["S", "M"], dtype=pl.Enum(["S", "M", "L"])), "wait": [1, 2]})
        frame = frame.with_columns(pl.col("wait").cast(pl.Duration("us")))
        frame.write_ipc(tmp_path / "a.arrow", compression="zstd")
        assert read(tmp_path / "a.arrow").schema == frame.schema

    def test_endings_in_capitals(self, tmp_path: Path):
        (tmp_path / "A.CSV").write_text("a\n1\n")
        assert read(tmp_path).equals(read(tmp_path / "A.CSV"))

    def test_folders_and_globs_in_the_order_of_names(self, tmp_path: Path):
        for number in (3, 1, 2):
            pl.DataFrame({"n": [number]}).write_parquet(tmp_path / f"part-{number}.parquet")
        (tmp_path / "notes.txt").write_text("no table")
        assert read(tmp_path)["n"].to_list() == [1, 2, 3]
        assert read(f"{tmp_path}/part-[12].parquet")["n"].to_list() == [1, 2]

    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            (
                {"a": [1]},
                {"a": ["1"]},
                "column 'a': expected one type in all files, found Int64 in '.*1.parquet' and String in",
            ),
            ({"a": [1]}, {"a": [1], "b": [2]}, "column 'b'.*found no such column in '.*1.parquet' and Int64 in"),
        ],
    )
    def test_files_that_do_not_fit_together_are_refused(self, tmp_path: Path, first: dict, second: dict, message: str):
        for number, columns in enumerate((first, second), 1):
            pl.DataFrame(columns).write_parquet(tmp_path / f"{number}.parquet")
        with pytest.raises(UserError, match=message):
            read(tmp_path)

    def test_files_of_two_time_zones_are_refused(self, tmp_path: Path):
        for zone in ("UTC", "Asia/Tokyo"):
            frame = pl.DataFrame({"t": [datetime(2026, 1, 1)]}).with_columns(pl.col("t").dt.replace_time_zone(zone))
            frame.write_parquet(tmp_path / f"{zone[:3]}.parquet")
        with pytest.raises(UserError, match=r"column 't'.*Asia/Tokyo.*UTC"):
            read(tmp_path)

    def test_a_missing_file_is_told_with_the_nearest(self, tmp_path: Path):
        (tmp_path / "ratings.parquet").touch()
        with pytest.raises(UserError, match=r"found nothing there. Did you mean 'ratings\.parquet'"):
            read(tmp_path / "rating.parquet")
        with pytest.raises(UserError, match="does not exist either"):
            read(tmp_path / "no" / "rating.parquet")
        with pytest.raises(UserError, match="found nothing there"):
            read(f"{tmp_path}/*.csv")

    def test_a_folder_without_tables_lists_what_is_accepted(self, tmp_path: Path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(UserError, match=r"ends in \.parquet, \.csv, .*found a folder without such a file"):
            read(tmp_path)

    def test_a_word_lists_what_is_accepted(self):
        with pytest.raises(UserError, match=r"'ratings': expected a file that ends in \.parquet, .* or a Query, found nothing"):
            read("ratings")

    def test_a_text_in_place_of_a_path_is_refused(self):
        with pytest.raises(UserError, match="expected a path, found File name too long"):
            read("id,stars\n" + "1,2\n" * 2000)

    def test_a_uri_in_place_of_a_path_is_not_shown(self):
        with pytest.raises(UserError, match=r"found a URI with the scheme 'postgresql'\. Read a database with Query") as caught:
            read("postgresql://reader:s3cret@localhost/shop")
        assert "s3cret" not in str(caught.value)

    def test_a_flipped_bit_in_a_parquet_file_is_refused(self, tmp_path: Path):
        write_parquet(tmp_path / "a.parquet", pl.DataFrame({"n": range(1000)}))
        content = bytearray((tmp_path / "a.parquet").read_bytes())
        content[200] ^= 1
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.parquet.*expected a whole Parquet file"):
            read(tmp_path / "a.parquet")

    def test_a_parquet_footer_whose_names_are_broken_is_refused(self, tmp_path: Path):
        write_parquet(tmp_path / "a.parquet", pl.DataFrame({"a_long_name": [{"inner_name": 1}]}))
        content = (tmp_path / "a.parquet").read_bytes()
        (tmp_path / "a.parquet").write_bytes(content.replace(b"inner_name", b"inn\xe9r_name"))
        with pytest.raises(UserError, match=r"a\.parquet"):
            read(tmp_path / "a.parquet")

    def test_an_arrow_file_whose_text_is_no_text_is_refused(self, tmp_path: Path):
        path, word = tmp_path / "a.arrow", "a word too long to lie in its own view"
        pl.DataFrame({"word": [word]}).write_ipc(path)
        path.write_bytes(path.read_bytes().replace(word.encode(), b"\xff" + word.encode()[1:]))
        with pytest.raises(UserError, match=r"a\.arrow"):
            read(path)

    @pytest.mark.parametrize("ending", ["parquet", "arrow"])
    def test_a_name_that_stands_twice_in_a_file_is_refused(self, tmp_path: Path, ending: str):
        table, path = pa.table([[1], [2]], names=["twice", "twice"]), tmp_path / f"a.{ending}"
        if ending == "parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)
        with pytest.raises(UserError, match="twice"):
            read(path)

    def test_broken_arrow_files_are_refused_or_read_but_never_end_the_process(self, tmp_path: Path):
        path = tmp_path / "a.arrow"
        FRAME.write_ipc(path)
        whole, refused = path.read_bytes(), 0
        for position in range(0, len(whole), 7):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x81]) + whole[position + 1 :])
            try:
                read(path)
            except UserError:
                refused += 1
        assert refused > len(whole) // 7 // 10

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.csv", b"a,b,a\n1,2,3\n", "expected one column of this name, found 2"),
            ("a.csv", b"caf\xe9,b\n1,2\n", "expected a complete .csv file.*UTF-8"),
            ("a.csv", "a,b\n1,2\n".encode("utf-16"), "expected a complete .csv file.*UTF-8"),
            ("a.parquet", b"PAR1 and then nothing of it", "expected a whole Parquet file"),
            ("a.arrow", b"not arrow", "expected a complete .arrow file"),
            ("a.csv", b"a,b\n\xff\xfe,2\n", "expected a complete .csv file"),
            ("a.csv", b"", "expected a complete .csv file"),
            ("a.xlsx", b"x", "expected a name that ends in one of .parquet, .csv.*found the ending '.xlsx'"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path: Path, name: str, content: bytes, message: str):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"file '.*{name}'.*{message}"):
            read(tmp_path / name)
