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

from polyrec import Package
from polyrec.language import cache
from polyrec.language.cache import cache_path, encode_cached


class Counted(Package):
    """The packaged model, with a list of the texts that it was given."""

    asked: ClassVar[list[str]] = []
    fail_at: ClassVar[str | None] = None

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        if self.fail_at in texts:
            raise RuntimeError("the power is gone")
        self.asked.extend(texts)
        return super().encode(texts, on_done)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREC_CACHE", str(tmp_path))
    Counted.asked.clear()
    Counted.fail_at = None


def test_each_text_is_encoded_once():
    first = encode_cached(Counted(), ["b", "a", "b"])
    again = encode_cached(Counted(), ["a", "b", "c"])
    assert Counted.asked == ["b", "a", "c"]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[:2], again[[1, 0]])


def test_vectors_are_those_of_the_encoder():
    np.testing.assert_allclose(encode_cached(Counted(), ["x", "y"]), Package().encode(["x", "y"]), atol=1e-6)


def test_another_prompt_or_length_is_encoded_anew():
    plain = encode_cached(Counted(), ["a film of many words indeed"])
    prompted = encode_cached(Counted(prompt="film: "), ["a film of many words indeed"])
    short = encode_cached(Counted(max_length=4), ["a film of many words indeed"])
    assert len(Counted.asked) == 3
    assert np.abs(plain - prompted).max() > 0.01
    assert np.abs(plain - short).max() > 0.01


def test_another_process_finds_them():
    encode_cached(Counted(), ["shared"])
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
        encode_cached(Counted(), list("abcdef"))
    Counted.fail_at = None
    encode_cached(Counted(), list("abcdef"))
    assert Counted.asked == list("abcdef")


@pytest.mark.parametrize("wrong", [b"", b"abc", np.full(384, np.nan, np.float32).tobytes(), np.zeros(3, np.float32).tobytes()])
def test_a_spoilt_vector_is_encoded_anew(wrong: bytes):
    whole = encode_cached(Counted(), list("abc"))
    with closing(sqlite3.connect(cache_path())) as database, database:
        database.execute("UPDATE vectors SET vector = ? WHERE key = (SELECT key FROM vectors LIMIT 1)", (wrong,))
    np.testing.assert_allclose(encode_cached(Counted(), list("abc")), whole, atol=1e-6)
    assert len(Counted.asked) == 4


def test_no_texts():
    assert len(encode_cached(Counted(), [])) == 0
