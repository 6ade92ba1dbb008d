"""The SQLite file of text vectors, keyed by hashes of encoder and text. Shape letters: N texts, D width."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from polyrec.core.cache import cache_folder
from polyrec.core.database import open_database, sealed, telling, unsealed
from polyrec.language.encoder import TextEncoder

FORMAT = 3
"""Part of the file's name; increase it when the tables, the stored bytes or the arithmetic of an encoder change."""

_TOGETHER = 500
"""Number of keys that one statement looks up."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS encoders (encoder BLOB PRIMARY KEY, identity TEXT NOT NULL, declared TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS vectors"
    " (encoder BLOB, text BLOB, truncated INTEGER NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (encoder, text))",
)


class Stored(NamedTuple):
    """A stored vector (D), and whether its text was truncated."""

    vector: np.ndarray
    truncated: bool


class Kept(NamedTuple):
    """The stored vectors of one encoder, summarised."""

    encoder: str
    identity: Mapping[str, JsonValue]
    declared: Mapping[str, JsonValue]
    """Declaration of the encoder that wrote the first vector."""
    vectors: int
    truncated: int
    bytes: int


def store_path() -> Path:
    """Return the file of the store."""
    return cache_folder() / f"vectors-{FORMAT}.sqlite"


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """Open the store, and create it if it does not exist; raises `UserError` for errors of SQLite while it is open."""
    path = store_path()
    remedy = "Remove the file (texts are then encoded again), free disk space, or move the cache with POLYREC_CACHE."
    with telling(f"cache of text vectors '{path}'", remedy), closing(open_database(path, _TABLES)) as database:
        yield database


def encoder_key(encoder: TextEncoder) -> bytes:
    """Return the key of an encoder: a hash of its identity, so that a changed encoder never reads old vectors."""
    return hashlib.sha256(f"{FORMAT}\n{_identity(encoder)}".encode()).digest()[:16]


def text_key(text: str) -> bytes:
    """Return the key of a text: its hash."""
    return hashlib.sha256(text.encode()).digest()


def stored(database: sqlite3.Connection, encoder: bytes, keys: Sequence[bytes]) -> dict[bytes, Stored]:
    """Return the stored vectors by key; a vector that is corrupt, not finite or of another width counts as absent."""
    vectors: dict[bytes, Stored] = {}
    for start in range(0, len(keys), _TOGETHER):
        some = keys[start : start + _TOGETHER]
        marks = ",".join("?" * len(some))
        rows = database.execute(
            f"SELECT text, vector, truncated FROM vectors WHERE encoder = ? AND text IN ({marks})", [encoder, *some]
        )
        for key, content, truncated in rows:
            vector = unpack(content)
            if vector is not None:
                vectors[key] = Stored(vector, bool(truncated))
    widths = [len(entry.vector) for entry in vectors.values()]
    usual = max(set(widths), key=widths.count) if widths else 0
    return {key: entry for key, entry in vectors.items() if len(entry.vector) == usual and np.isfinite(entry.vector).all()}


def commit(database: sqlite3.Connection, encoder: TextEncoder, encoded: Mapping[bytes, Stored]) -> dict[bytes, Stored]:
    """Write the vectors that no other process has written, in one transaction; return the stored vectors."""
    key = encoder_key(encoder)
    width = len(next(iter(encoded.values())).vector)
    with database:
        database.execute("BEGIN IMMEDIATE")
        first = {text: entry for text, entry in stored(database, key, list(encoded)).items() if len(entry.vector) == width}
        row = (key, _identity(encoder), encoder.model_dump_json())
        database.execute("INSERT OR IGNORE INTO encoders VALUES (?, ?, ?)", row)
        rows = [(key, text, entry.truncated, pack(entry.vector)) for text, entry in encoded.items() if text not in first]
        database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
    return {**encoded, **first}


def kept() -> list[Kept]:
    """Return the contents of the store by encoder, the largest first; raises `UserError` if it cannot be read."""
    if not store_path().exists():
        return []
    with opened() as database:
        rows = database.execute(
            "SELECT encoder, identity, declared, COUNT(vector), TOTAL(truncated), TOTAL(LENGTH(vector))"
            " FROM encoders LEFT JOIN vectors USING (encoder) GROUP BY encoder ORDER BY 6 DESC, 1"
        ).fetchall()
    return [
        Kept(key.hex(), json.loads(identity), json.loads(declared), count, int(cut), int(size))
        for key, identity, declared, count, cut, size in rows
    ]


def clear(encoder: str | None = None) -> int:
    """Delete the vectors of one encoder, by its key in hexadecimal, or of all; free the disk space and return their number."""
    if not store_path().exists():
        return 0
    chosen = (None, None) if encoder is None else (bytes.fromhex(encoder),) * 2
    with opened() as database:
        with database:
            gone = database.execute("DELETE FROM vectors WHERE ? IS NULL OR encoder = ?", chosen).rowcount
            database.execute("DELETE FROM encoders WHERE ? IS NULL OR encoder = ?", chosen)
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return gone


def pack(vector: np.ndarray) -> bytes:
    """Return a vector as bytes, followed by their checksum."""
    return sealed(vector.astype("<f4").tobytes())


def unpack(content: bytes) -> np.ndarray | None:
    """Return the vector of packed bytes, or `None` if they are corrupt."""
    vector = unsealed(content)
    return np.frombuffer(vector, dtype="<f4") if vector else None


def _identity(encoder: TextEncoder) -> str:
    return json.dumps(encoder.identity(), sort_keys=True)
