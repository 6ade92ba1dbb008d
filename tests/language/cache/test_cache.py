"""The cache of vectors: nothing is encoded twice, nothing wrong is served."""

import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from polyrec import Package, UserError
from polyrec.language.cache import cache
from polyrec.language.cache.cache import encode_cached
from polyrec.language.cache.counting import counting
from polyrec.language.cache.vector_store import pack, store_path


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
    assert sorted(Counted.asked) == ["a", "b", "c"]
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


@pytest.mark.slow
def test_another_process_finds_them():
    encode_cached(Package(), ["shared"])
    code = (
        "from polyrec import Package\n"
        "from polyrec.language.cache.cache import encode_cached\n"
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


@pytest.mark.slow
def test_processes_share_the_cache(tmp_path: Path):
    code = (
        "import sys, numpy as np; from polyrec import Package; from polyrec.language.cache import cache\n"
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
    vectors = encode_cached(Package(), ["raced"])
    np.testing.assert_array_equal(vectors, encode_cached(Package(), ["raced"]))
    assert (vectors != plain(Package(), ["raced"])).any()


class TestCounts:
    def test_a_second_run_encodes_nothing_and_a_further_text_one(self):
        texts = [f"film {number}" for number in range(20)]
        counts = []
        for encoder, some in [
            (Package(), texts),
            (Package(), texts[::-1]),
            (Package(), [*texts, "another"]),
            (Package(prompt="film: "), texts),
            (Package(dimensions=64), texts),
            (Package(max_length=16), texts),
            (Package(pooling="cls"), texts),
            (Package(max_length=256, batch_tokens=7, pooling="mean"), texts),
        ]:
            with counting() as count:
                encode_cached(encoder, some)
            counts.append((count.texts, count.encoded))
        assert counts == [(20, 20), (20, 0), (21, 1), (20, 20), (20, 20), (20, 20), (20, 20), (20, 0)]

    def test_of_one_block_are_those_of_the_blocks_within(self):
        with counting() as outer:
            encode_cached(Package(), ["a", "b", "b", "", "  "])
            with counting() as inner:
                encode_cached(Package(), ["b", "c"])
        encode_cached(Package(), ["d"])
        assert (inner.texts, inner.encoded) == (2, 1)
        assert (outer.texts, outer.encoded) == (4, 3)

    def test_truncated_texts_are_counted_now_and_when_they_come_from_the_cache(self, caplog: pytest.LogCaptureFixture):
        encoder, texts = Package(max_length=8), ["a film of many words indeed it is", "a film", "another"]
        for logged in (1, 1):
            with counting() as count, caplog.at_level(logging.WARNING):
                encode_cached(encoder, texts)
            assert (count.truncated, count.truncation_rate) == (1, pytest.approx(1 / 3))
            assert len(caplog.records) == logged
        assert "Package truncates 1 of 3 texts (33.3 %)" in caplog.messages[0]

    def test_nothing_is_said_where_one_text_in_a_hundred_is_cut(self, caplog: pytest.LogCaptureFixture):
        encode_cached(Package(max_length=8), ["a film of many words indeed it is", *(f"film {number}" for number in range(99))])
        assert caplog.messages == []


class TestBlank:
    def test_texts_have_the_vector_zero_and_are_never_encoded(self):
        vectors = encode_cached(Package(), ["", "a", " \n\t", "a"])
        assert not vectors[[0, 2]].any()
        np.testing.assert_array_equal(vectors[1], vectors[3])
        assert Counted.asked == ["a"]

    def test_texts_alone_have_the_width_of_the_others(self):
        assert encode_cached(Package(), ["", ""]).shape == (2, 384)
        assert encode_cached(Package(), []).shape == (0, 384)
        assert Counted.asked == []


def test_the_longest_are_encoded_first_and_each_vector_is_that_of_its_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "CHUNK", 3)
    texts = ["a" * length for length in (3, 9, 1, 7, 5, 2, 8)]
    vectors = encode_cached(Package(), texts)
    assert [len(text) for text in Counted.asked] == [9, 8, 7, 5, 3, 2, 1]
    np.testing.assert_allclose(vectors, np.stack([Package().encode([text])[0] for text in texts]), atol=1e-5)


KILLED = """
import sys, time
from polyrec import Package
from polyrec.language.cache import cache
encode = Package.encode
def slow(self, texts, on_done):
    time.sleep(0.2)
    return encode(self, texts, on_done)
Package.encode = slow
cache.CHUNK = 4
cache.encode_cached(Package(), [f"film {number}" for number in range(100)])
"""


@pytest.mark.slow
def test_a_process_that_is_killed_loses_at_most_a_chunk():
    process = subprocess.Popen([sys.executable, "-c", KILLED])
    held = 0
    while held < 12:
        assert process.poll() is None
        time.sleep(0.02)
        if store_path().exists():
            with closing(sqlite3.connect(store_path(), timeout=60)) as database:
                tables = database.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'vectors'").fetchone()[0]
                held = database.execute("SELECT COUNT(*) FROM vectors").fetchone()[0] if tables else 0
    process.kill()
    process.wait()
    with closing(sqlite3.connect(store_path())) as database:
        kept = database.execute("SELECT COUNT(*) FROM vectors").fetchone()[0]
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert 12 <= kept < 100
    assert kept % 4 == 0
    texts = [f"film {number}" for number in range(100)]
    with counting() as count:
        vectors = encode_cached(Package(), texts)
    assert count.encoded == 100 - kept
    np.testing.assert_allclose(vectors, Package().encode(texts), atol=1e-5)


class TestMistakes:
    def test_of_an_encoder_reach_no_cache(self, monkeypatch: pytest.MonkeyPatch):
        plain = Package.encode
        for wrong, message in [
            (lambda vectors: vectors[1:], r"expected 2 vectors, found an array of shape \(1, 384\)"),
            (lambda vectors: vectors[:, :0], r"found an array of shape \(2, 0\)"),
            (lambda vectors: np.where([[True], [False]], np.nan, vectors), "NaN or infinity for 1 of 2 texts, such as 'bb'"),
        ]:
            monkeypatch.setattr(Package, "encode", lambda self, texts, on_done, wrong=wrong: wrong(plain(self, texts)))
            with pytest.raises(UserError, match=message):
                encode_cached(Package(), ["a", "bb"])
        monkeypatch.setattr(Package, "encode", plain)
        with counting() as count:
            encode_cached(Package(), ["a", "bb"])
        assert count.encoded == 2

    def test_of_texts_are_told_with_their_place(self):
        with pytest.raises(UserError, match=r"text 2 of 2: .*lone surrogate"):
            encode_cached(Package(), ["a", "\udc00"])
        with pytest.raises(UserError, match="text 1 of 1: expected a string, found None"):
            encode_cached(Package(), [None])  # type: ignore[list-item]

    def test_a_cache_that_cannot_be_written_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("POLYREC_CACHE", str(tmp_path / "file"))
        with pytest.raises(UserError, match="or move the cache with POLYREC_CACHE"):
            encode_cached(Package(), ["a"])


def test_a_spoilt_file_found_in_the_middle_is_told():
    encode_cached(Package(), [f"film {number}" for number in range(200)])
    with store_path().open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(store_path().stat().st_size - 16384))
    with pytest.raises(UserError, match=r"cache of text vectors .* Remove the file"):
        encode_cached(Package(), [f"film {number}" for number in range(200)])
