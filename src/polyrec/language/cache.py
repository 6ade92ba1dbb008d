"""The cache of text vectors: one SQLite file, keyed by the content of text and encoder. Shape letters: N texts, D width."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from polyrec.core.cache import cache_folder
from polyrec.core.errors import UserError
from polyrec.language.encoder import TextEncoder

FORMAT = 2
"""Part of every key: raised when the stored bytes, or the arithmetic of an encoder, change."""

CHUNK = 512
"""Texts that are encoded and committed at a time: what a crash can cost at most."""

_SLOW = 200


def encode_cached(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (N, D) of texts, encoding only those that the cache does not hold.

    Equal texts are encoded once. Any number of processes may share the cache: each commits whole chunks, and where two encode
    the same text at once, both return the vector that was committed first, bit for bit.
    """
    distinct = list(dict.fromkeys(texts))
    identity = json.dumps(encoder.identity(), sort_keys=True)
    keys = {text: hashlib.sha256(f"{FORMAT}\n{identity}\n{text}".encode()).digest() for text in distinct}
    with closing(_open()) as database:
        vectors = _stored(database, keys)
        missing = [text for text in distinct if text not in vectors]
        bar = Progress(console=Console(file=sys.stderr), transient=True, disable=len(missing) < _SLOW)
        with bar:
            line = bar.add_task("encoding texts", total=len(missing))
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                encoded = encoder.encode(chunk, lambda count: bar.advance(line, count))
                vectors.update(_commit(database, keys, dict(zip(chunk, encoded, strict=True))))
    return np.stack([vectors[text] for text in texts]) if texts else np.zeros((0, 0), dtype=np.float32)


def _commit(database: sqlite3.Connection, keys: dict[str, bytes], encoded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Write the vectors that no other process wrote meanwhile; return what the cache then holds."""
    width = len(next(iter(encoded.values())))
    with database:
        database.execute("BEGIN IMMEDIATE")
        held = _stored(database, {text: keys[text] for text in encoded})
        first = {text: vector for text, vector in held.items() if len(vector) == width}
        rows = [(keys[text], _pack(vector)) for text, vector in encoded.items() if text not in first]
        database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
    return {**encoded, **first}


def cache_path() -> Path:
    """Return the file of the cache."""
    return cache_folder() / "vectors.sqlite"


def _open() -> sqlite3.Connection:
    path = cache_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=60)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
    except sqlite3.DatabaseError as error:
        database.close()
        remedy = "Remove the file (texts are then encoded anew), or move the cache with POLYREC_CACHE."
        expected = "an SQLite file that can be written"
        raise UserError(f"cache of text vectors '{path}'", expected=expected, found=f"{error}", remedy=remedy) from error
    return database


def _pack(vector: np.ndarray) -> bytes:
    """Return a vector as bytes, with their checksum behind them."""
    content = vector.astype("<f4").tobytes()
    return content + zlib.crc32(content).to_bytes(4, "little")


def _unpack(stored: bytes) -> np.ndarray | None:
    """Return the vector, or `None` where the bytes are not those that were written."""
    content, checksum = stored[:-4], stored[-4:]
    if not content or zlib.crc32(content).to_bytes(4, "little") != checksum:
        return None
    return np.frombuffer(content, dtype="<f4")


def _stored(database: sqlite3.Connection, keys: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Return the vectors that the cache holds; one that was altered, is not finite or of another width counts as absent."""
    found: dict[str, np.ndarray] = {}
    for text, key in keys.items():
        row = database.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        vector = None if row is None else _unpack(row[0])
        if vector is not None:
            found[text] = vector
    widths = [len(vector) for vector in found.values()]
    usual = max(set(widths), key=widths.count) if widths else 0
    return {text: vector for text, vector in found.items() if len(vector) == usual and np.isfinite(vector).all()}
