"""Tables from files, globs and frames."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from polyrec import UserError
from polyrec.data.sources import read

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

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (pl.DataFrame(), "expected a table with rows, found 0 rows and 0 columns"),
            (FRAME.clear(), "found 0 rows and 3 columns"),
            (pa.table({"id": pa.array([], pa.int64())}), "found 0 rows"),
            (pd.DataFrame({"id": [1, "one"]}), "expected columns that fit Arrow"),
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a' of the data: expected it once"),
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
        with pytest.raises(UserError, match="column 't'.*Asia/Tokyo.*UTC"):
            read(tmp_path)

    def test_a_missing_file_is_told_with_the_nearest(self, tmp_path: Path):
        (tmp_path / "ratings.parquet").touch()
        with pytest.raises(UserError, match=r"found nothing there. Did you mean 'ratings\.parquet'"):
            read(tmp_path / "rating.parquet")
        with pytest.raises(UserError, match="does not exist either"):
            read(tmp_path / "no" / "rating.parquet")
        with pytest.raises(UserError, match="found nothing there"):
            read(f"{tmp_path}/*.csv")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.parquet", b"PAR1 and then nothing of it", "expected a whole Parquet file"),
            ("a.arrow", b"not arrow", "expected a whole .arrow file"),
            ("a.csv", b"a,b\n\xff\xfe,2\n", "expected a whole .csv file"),
            ("a.csv", b"", "expected a whole .csv file"),
            ("a.xlsx", b"x", "expected one of .parquet, .csv.*found the ending '.xlsx'"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path: Path, name: str, content: bytes, message: str):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"file '.*{name}'.*{message}"):
            read(tmp_path / name)
