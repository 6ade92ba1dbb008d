"""The cache of vectors: nothing is encoded twice, nothing wrong is served."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from polyrec import Package, UserError
from polyrec.language import cache
from polyrec.language.cache import encode_cached
from polyrec.language.vector_store import pack, store_path


class Counted:
    """What the packaged model was asked for, and at which text it fails; no kind of encoder, which other tests would meet."""

    asked: ClassVar[list[str]] = []
    fail_at: ClassVar[str | None] = None


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Package.encode

    def counted(self: Package, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        if Counted.fail_at in texts:
            raise RuntimeError("the power is gone")
        Counted.asked.extend(texts)
        return encode(self, texts, on_done)

    monkeypatch.setattr(Package, "encode", counted)
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
    Counted.asked.clear()
    Counted.fail_at = None


def test_each_text_is_encoded_once():
    first = encode_cached(Package(), ["b", "a", "b"])
    again = encode_cached(Package(), ["a", "b", "c"])
    assert Counted.asked == ["b", "a", "c"]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[:2], again[[1, 0]])


def test_vectors_are_those_of_the_encoder():
    np.testing.assert_allclose(encode_cached(Package(), ["x", "y"]), Package().encode(["x", "y"]), atol=1e-6)


def test_another_prompt_or_length_is_encoded_anew():
    plain = encode_cached(Package(), ["a film of many words indeed"])
    prompted = encode_cached(Package(prompt="film: "), ["a film of many words indeed"])
    short = encode_cached(Package(max_length=4), ["a film of many words indeed"])
    assert len(Counted.asked) == 3
    assert np.abs(plain - prompted).max() > 0.01
    assert np.abs(plain - short).max() > 0.01


def test_another_process_finds_them():
    encode_cached(Package(), ["shared"])
    code = (
        "from polyrec import Package\n"
        "from polyrec.language.cache import encode_cached\n"
        "Package.encode = None\n"
        "print(encode_cached(Package(), ['shared']).shape)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "(1, 384)\n"


def test_a_crash_keeps_the_chunks_that_were_done(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "CHUNK", 2)
    Counted.fail_at = "e"
    with pytest.raises(RuntimeError):
        encode_cached(Package(), list("abcdef"))
    Counted.fail_at = None
    encode_cached(Package(), list("abcdef"))
    assert Counted.asked == list("abcdef")


def flip(stored: bytes) -> bytes:
    return bytes([stored[0] ^ 1]) + stored[1:]


SPOILT = {
    "empty": lambda stored: b"",
    "short": lambda stored: b"abc",
    "cut": lambda stored: stored[:-400],
    "one bit": flip,
    "zeros": lambda stored: bytes(len(stored)),
    "another width": lambda stored: pack(np.ones(3, np.float32)),
    "not a number": lambda stored: pack(np.full(384, np.nan, np.float32)),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_vector_is_encoded_anew(spoil: Callable[[bytes], bytes]):
    whole = encode_cached(Package(), list("abc"))
    with closing(sqlite3.connect(store_path())) as database, database:
        key, stored = database.execute("SELECT text, vector FROM vectors LIMIT 1").fetchone()
        database.execute("UPDATE vectors SET vector = ? WHERE text = ?", (spoil(stored), key))
    np.testing.assert_allclose(encode_cached(Package(), list("abc")), whole, atol=1e-6)
    assert len(Counted.asked) == 4


@pytest.mark.parametrize("spoil", [flip, lambda stored: bytes(12), lambda stored: b""], ids=["one bit", "zeros", "empty"])
def test_a_spoilt_vector_asked_for_alone_is_encoded_anew(spoil: Callable[[bytes], bytes]):
    whole = encode_cached(Package(), ["a"])
    with closing(sqlite3.connect(store_path())) as database, database:
        stored = database.execute("SELECT vector FROM vectors").fetchone()[0]
        database.execute("UPDATE vectors SET vector = ?", (spoil(stored),))
    np.testing.assert_allclose(encode_cached(Package(), ["a"]), whole, atol=1e-6)
    assert Counted.asked == ["a", "a"]


def test_a_file_that_is_no_cache_is_told():
    store_path().write_bytes(b"not a database, whoever wrote it" * 100)
    with pytest.raises(UserError, match="expected an SQLite file that can be written"):
        encode_cached(Package(), ["a"])


def test_processes_share_the_cache(tmp_path: Path):
    code = (
        "import sys, numpy as np; from polyrec import Package; from polyrec.language import cache\n"
        "cache.CHUNK = 3; Package.identity = lambda self: {}\n"
        "Package.encode = lambda self, texts, on_done: np.array([[float(text)] for text in texts], dtype=np.float32)\n"
        "print(cache.encode_cached(Package(), [str(n) for n in range(300)]).sum())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in running] == ["44850.0\n"] * 3
    with closing(sqlite3.connect(store_path())) as database:
        assert database.execute("SELECT COUNT(*) FROM vectors").fetchone()[0] == 300


def test_no_texts():
    assert len(encode_cached(Package(), [])) == 0


def test_of_two_who_encode_one_text_at_once_the_first_to_commit_is_right(monkeypatch: pytest.MonkeyPatch):
    """While one encodes, another commits the same text, a little different: both must then use that vector."""
    plain = Package.encode

    def ahead(self: Package, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        return plain(self, texts, on_done) + np.float32(1e-6)

    def overtaken(self: Package, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        vectors = plain(self, texts, on_done)
        monkeypatch.setattr(Package, "encode", ahead)
        encode_cached(Package(), texts)
        return vectors

    monkeypatch.setattr(Package, "encode", overtaken)
    found = encode_cached(Package(), ["raced"])
    np.testing.assert_array_equal(found, encode_cached(Package(), ["raced"]))
    assert (found != plain(Package(), ["raced"])).any()
