"""Tables in Parquet files whose columns are read on demand have the same values as the files read at once."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec import UserError
from polyrec.data.read.parquet_table import ParquetTable, parquet_files
from polyrec.data.read.sources import read
from polyrec.data.read.wide import Stacked
from polyrec.data.tables import Tables, join

FRAME = pl.DataFrame(
    {"id": range(6), "word": ["a", None, "b", "a", "c", ""], "tags": [["x"], [], None, ["y", "z"], ["x"], []], "a.b": [0.5] * 6}
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FRAME[:4].write_parquet(tmp_path / "1.parquet", row_group_size=2)
    FRAME[4:].write_parquet(tmp_path / "2.parquet")
    return tmp_path


def test_hands_out_what_the_files_hold(folder: Path):
    table = ParquetTable.open(parquet_files(folder))
    assert table.height == 6
    assert table.schema == FRAME.schema
    assert table.clear().equals(FRAME.clear())
    for names in (["id"], ["tags", "word"], ["a.b"], FRAME.columns):
        assert table.select(names).equals(read(folder).select(names))


@settings(max_examples=50)
@given(masks=st.tuples(st.lists(st.booleans(), min_size=6, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6)))
def test_filters_as_a_frame_does(tmp_path_factory, masks: tuple[list[bool], list[bool]]):
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    FRAME.write_parquet(path)
    first = pl.Series(masks[0])
    second = pl.Series(masks[1][: int(first.sum())], dtype=pl.Boolean)
    table = ParquetTable.open([path]).filter(first).filter(second)
    expected = FRAME.filter(first).filter(second)
    assert table.height == expected.height
    assert table.select(["word", "tags"]).equals(expected.select("word", "tags"))


def test_only_parquet_files_are_such_tables(folder: Path):
    assert parquet_files(str(folder / "*.parquet")) == [folder / "1.parquet", folder / "2.parquet"]
    assert parquet_files(folder / "none.parquet") is None
    assert parquet_files(FRAME) is None
    assert parquet_files("sqlite:///a.parquet") is None
    FRAME.drop("tags").write_csv(folder / "3.csv")
    assert parquet_files(folder) is None


def test_files_that_differ_or_are_broken_are_refused(folder: Path):
    FRAME.with_columns(pl.col("id").cast(pl.Float64)).write_parquet(folder / "3.parquet")
    with pytest.raises(UserError, match=r"column 'id': expected one type in all files, found Int64 in .*1\.parquet"):
        ParquetTable.open(parquet_files(folder))
    (folder / "3.parquet").write_bytes(b"PAR1 and then nothing of it")
    with pytest.raises(UserError, match=r"3\.parquet.*expected a complete Parquet file"):
        ParquetTable.open(parquet_files(folder))


def test_a_page_that_changed_is_refused_when_it_is_read(tmp_path: Path):
    from polyrec.core.files import write_parquet

    path = tmp_path / "a.parquet"
    write_parquet(path, pl.DataFrame({"number": [n * 7919 % 100_003 for n in range(20_000)]}))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x40
    path.write_bytes(bytes(whole))
    with pytest.raises(UserError, match=r"a\.parquet"):
        ParquetTable.open([path]).select(["number"])


def test_a_file_that_has_fewer_rows_by_now_is_refused(folder: Path):
    table = ParquetTable.open(parquet_files(folder))
    table.select(["id"])
    FRAME[:1].write_parquet(folder / "1.parquet")
    with pytest.raises(UserError, match=r"1\.parquet': expected 6 rows, as when it was opened, found 3"):
        table.select(["word"])


def test_side_tables_are_looked_up_as_they_would_be_joined(folder: Path):
    users = pl.DataFrame({"id": [5, 0, 3], "age": [50, None, 30], "city": ["Ulm", "Bonn", "Trier"]})
    lazily = join(Tables(folder, users), "id", None, lambda source, what: ParquetTable.open(parquet_files(source))).wide
    at_once = join(Tables(folder, users), "id", None).frame
    mask = pl.Series([True, False, True, True, True, True])
    assert lazily.columns == at_once.columns
    assert lazily.schema == at_once.schema
    for names in (["city"], ["id", "age"], ["age", "tags", "city"]):
        assert lazily.select(names).equals(at_once.select(names))
        assert lazily.filter(mask).select(names).equals(at_once.filter(mask).select(names))
    with pytest.raises(UserError, match="expected a key to join it by"):
        join(Tables(folder, users), None, None, lambda source, what: ParquetTable.open(parquet_files(source)))


def test_two_tables_are_put_one_below_the_other(folder: Path):
    below = FRAME.drop("word").with_columns(pl.col("id").cast(pl.Float64))
    stacked = Stacked(ParquetTable.open(parquet_files(folder)), below)
    assert stacked.columns == ["id", "tags", "a.b"]
    assert stacked.schema["id"] == pl.Float64
    assert stacked.height == 12
    assert stacked.select(["id"])["id"].to_list() == [*range(6), *range(6)]
    mask = pl.Series([False] * 5 + [True] * 2 + [False] * 5)
    assert stacked.filter(mask).select(["id"])["id"].to_list() == [5, 0]
