"""Digests of files equal those of hashlib, and unchanged files are read once."""

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from polyrec.data.read.digests import digest

LARGE = b"x" * 2**24


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path / "cache"))


def remembered(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "digests").glob("*.json"))


def test_is_the_hash_of_a_file_or_that_of_several(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    one, two = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()
    assert digest([tmp_path / "a"]) == one
    assert digest([tmp_path / "a", tmp_path / "b"]) == hashlib.sha256(f"{one}\n{two}".encode()).hexdigest()
    assert digest([tmp_path / "b", tmp_path / "a"]) != digest([tmp_path / "a", tmp_path / "b"])
    assert remembered(tmp_path) == []


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path):
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    digest([path])
    assert remembered(tmp_path) == [], "a file that has just been written may change again unseen"
    os.utime(path, (time.time() - 60,) * 2)
    digest([path])
    (memory,) = remembered(tmp_path)
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "sha256": "as remembered"}))
    assert digest([path]) == "as remembered"
    before = path.stat()
    path.write_bytes(b"y" + LARGE[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert digest([path]) == hashlib.sha256(b"y" + LARGE[1:]).hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"marks": 3}', "\x00"])
def test_a_spoilt_memory_is_no_memory(tmp_path: Path, content: str):
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    os.utime(path, (time.time() - 60,) * 2)
    digest([path])
    (memory,) = remembered(tmp_path)
    memory.write_text(content)
    assert digest([path]) == hashlib.sha256(LARGE).hexdigest()
