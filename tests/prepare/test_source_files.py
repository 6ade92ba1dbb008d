"""Which fits read only files, and the digests of the files."""

from pathlib import Path

import polars as pl
import pytest

from polyrec import Tables, UserError
from polyrec.core.files import sha256
from polyrec.prepare.source_files import SourceFiles

FRAME = pl.DataFrame({"id": [1, 2]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("rows", "held"):
        FRAME.write_parquet(tmp_path / f"{name}.parquet")
    FRAME.write_csv(tmp_path / "users.csv")
    return tmp_path


def test_rows_must_be_parquet_and_side_tables_files(folder: Path):
    rows, users = folder / "rows.parquet", folder / "users.csv"
    assert SourceFiles.of(rows, None).files == {"data": [rows]}
    assert list(SourceFiles.of(Tables(rows, users), str(rows)).files) == ["data", "validation", "users"]
    for data, validation in (
        (FRAME, None),
        (rows, FRAME),
        (users, None),
        (rows, users),
        (folder / "none.parquet", None),
        (Tables(rows, FRAME), None),
        (Tables(FRAME, users), None),
    ):
        assert SourceFiles.of(data, validation) is None


def test_one_file_has_its_own_hash(folder: Path):
    files = SourceFiles.of(folder / "rows.parquet", folder / "held.parquet")
    assert files.of_data == sha256(folder / "rows.parquet")
    assert files.of_validation == sha256(folder / "held.parquet")
    assert files.size == sum((folder / f"{name}.parquet").stat().st_size for name in ("rows", "held"))
    with_users = SourceFiles.of(Tables(folder / "rows.parquet", folder / "users.csv"), None)
    assert with_users.of_data != files.of_data
    assert with_users.of_validation is None


def test_a_change_is_seen(folder: Path):
    files = SourceFiles.of(folder / "rows.parquet", None)
    assert files.digests
    files.check_unchanged()
    FRAME.reverse().write_parquet(folder / "rows.parquet")
    with pytest.raises(UserError, match=r"data '.*rows\.parquet': expected files that do not change while they are read"):
        files.check_unchanged()
