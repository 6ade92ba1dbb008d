"""Files are written whole or not at all, and a flipped bit is not read in silence."""

import multiprocessing
import os
import signal
from pathlib import Path

import polars as pl
import pytest

from polyrec import UserError
from polyrec.core.files import read_parquet, replacing, replacing_folder, write_parquet, write_text

FRAME = pl.DataFrame({"number": range(5000), "word": [f"word {i * 7919 % 5000}" for i in range(5000)]})


def _write_and_die(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the new")
        os.kill(os.getpid(), signal.SIGKILL)


def _write_and_fail(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError


class TestReplacing:
    @pytest.mark.slow
    def test_a_killed_writer_leaves_the_old_file_whole(self, tmp_path: Path):
        write_text(tmp_path / "a.txt", "old")
        process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(tmp_path / "a.txt",))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert (tmp_path / "a.txt").read_text() == "old"

    def test_an_exception_leaves_nothing_behind(self, tmp_path: Path):
        with pytest.raises(RuntimeError):
            _write_and_fail(tmp_path / "a.txt")
        assert list(tmp_path.iterdir()) == []

    def test_an_exception_leaves_the_old_file_whole(self, tmp_path: Path):
        write_parquet(tmp_path / "a.parquet", FRAME)
        with pytest.raises(RuntimeError):
            _write_and_fail(tmp_path / "a.parquet")
        assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
        assert read_parquet(tmp_path / "a.parquet").equals(FRAME)

    @pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
    def test_the_mode_is_that_of_an_ordinary_file(self, tmp_path: Path, mask: int):
        before = os.umask(mask)
        try:
            write_text(tmp_path / "a.txt", "x")
            (tmp_path / "b.txt").write_text("x")
            with replacing_folder(tmp_path / "f"):
                (tmp_path / "g").mkdir()
            assert os.umask(mask) == mask
        finally:
            os.umask(before)
        for written, ordinary in (("a.txt", "b.txt"), ("f", "g")):
            assert (tmp_path / written).stat().st_mode == (tmp_path / ordinary).stat().st_mode

    def test_a_folder_takes_the_place_of_the_old_one(self, tmp_path: Path):
        for content in ("old", "new"):
            with replacing_folder(tmp_path / "f") as temporary:
                (temporary / content).write_text(content)
        assert [path.name for path in tmp_path.rglob("*")] == ["f", "new"]

    def test_a_failed_folder_leaves_the_old_one(self, tmp_path: Path):
        with replacing_folder(tmp_path / "f") as temporary:
            (temporary / "old").write_text("old")
        with pytest.raises(RuntimeError), replacing_folder(tmp_path / "f") as temporary:
            raise RuntimeError
        assert [path.name for path in tmp_path.rglob("*")] == ["f", "old"]


class TestParquet:
    def test_there_and_back(self, tmp_path: Path):
        write_parquet(tmp_path / "a.parquet", FRAME)
        assert read_parquet(tmp_path / "a.parquet").equals(FRAME)
        assert read_parquet(tmp_path / "a.parquet", columns=["word"]).columns == ["word"]

    def test_a_flipped_bit_is_never_read_in_silence(self, tmp_path: Path):
        path = tmp_path / "a.parquet"
        write_parquet(path, FRAME)
        whole = path.read_bytes()
        refused = 0
        for position in range(4, len(whole) - 8, len(whole) // 97):
            broken = bytearray(whole)
            broken[position] ^= 1 << position % 8
            path.write_bytes(broken)
            try:
                read = read_parquet(path)
            except UserError:
                refused += 1
            else:
                assert read.equals(FRAME)
        assert refused > 80

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all, but long enough to be one"])
    def test_what_is_no_parquet_is_refused(self, tmp_path: Path, content: bytes):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(UserError, match="expected a whole Parquet file"):
            read_parquet(tmp_path / "a.parquet")

    def test_a_truncated_file_is_refused(self, tmp_path: Path):
        write_parquet(tmp_path / "a.parquet", FRAME)
        content = (tmp_path / "a.parquet").read_bytes()
        (tmp_path / "a.parquet").write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=r"a\.parquet"):
            read_parquet(tmp_path / "a.parquet")
