"""The SQLite file of text vectors, keyed by the content of encoder and text. Shape letters: N texts, D width."""

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
"""Part of the file's name: raised when its tables, the stored bytes, or the arithmetic of an encoder change."""

_TOGETHER = 500
"""Keys looked up by one statement."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS encoders (encoder BLOB PRIMARY KEY, identity TEXT NOT NULL, declared TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS vectors"
    " (encoder BLOB, text BLOB, truncated INTEGER NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (encoder, text))",
)


class Stored(NamedTuple):
    """A vector (D) as the store holds it, and whether the end of its text was not read."""

    vector: np.ndarray
    truncated: bool


class Kept(NamedTuple):
    """What the store holds of one encoder."""

    encoder: str
    identity: Mapping[str, JsonValue]
    declared: Mapping[str, JsonValue]
    """The declaration of the encoder that wrote first."""
    vectors: int
    truncated: int
    bytes: int


def store_path() -> Path:
    """Return the file of the store."""
    return cache_folder() / f"vectors-{FORMAT}.sqlite"


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """Open the store, made where it is not there; raises `UserError` for whatever SQLite meets meanwhile."""
    path = store_path()
    remedy = "Remove the file (texts are then encoded anew), make room, or move the cache with POLYREC_CACHE."
    with telling(f"cache of text vectors '{path}'", remedy), closing(open_database(path, _TABLES)) as database:
        yield database


def encoder_key(encoder: TextEncoder) -> bytes:
    """Return what stands for an encoder: a hash of its identity, so that no change of it can find another's vectors."""
    return hashlib.sha256(f"{FORMAT}\n{_identity(encoder)}".encode()).digest()[:16]


def text_key(text: str) -> bytes:
    """Return what stands for a text."""
    return hashlib.sha256(text.encode()).digest()


def stored(database: sqlite3.Connection, encoder: bytes, keys: Sequence[bytes]) -> dict[bytes, Stored]:
    """Return the vectors that are held; one that was altered, is not finite or of another width counts as absent."""
    found: dict[bytes, Stored] = {}
    for start in range(0, len(keys), _TOGETHER):
        some = keys[start : start + _TOGETHER]
        marks = ",".join("?" * len(some))
        rows = database.execute(
            f"SELECT text, vector, truncated FROM vectors WHERE encoder = ? AND text IN ({marks})", [encoder, *some]
        )
        for key, content, truncated in rows:
            vector = unpack(content)
            if vector is not None:
                found[key] = Stored(vector, bool(truncated))
    widths = [len(one.vector) for one in found.values()]
    usual = max(set(widths), key=widths.count) if widths else 0
    return {key: one for key, one in found.items() if len(one.vector) == usual and np.isfinite(one.vector).all()}


def commit(database: sqlite3.Connection, encoder: TextEncoder, encoded: Mapping[bytes, Stored]) -> dict[bytes, Stored]:
    """Write the vectors that no other process wrote meanwhile, in one transaction; return what the store then holds."""
    key = encoder_key(encoder)
    width = len(next(iter(encoded.values())).vector)
    with database:
        database.execute("BEGIN IMMEDIATE")
        first = {text: one for text, one in stored(database, key, list(encoded)).items() if len(one.vector) == width}
        told = (key, _identity(encoder), encoder.model_dump_json())
        database.execute("INSERT OR IGNORE INTO encoders VALUES (?, ?, ?)", told)
        rows = [(key, text, one.truncated, pack(one.vector)) for text, one in encoded.items() if text not in first]
        database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
    return {**encoded, **first}


def kept() -> list[Kept]:
    """Return what the store holds, an encoder a row, the largest first; raises `UserError` where it cannot be read."""
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
    """Remove the vectors of one encoder, by its key in hexadecimal, or of all; return how many, with the room given back."""
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
    """Return a vector as bytes, with their checksum behind them."""
    return sealed(vector.astype("<f4").tobytes())


def unpack(content: bytes) -> np.ndarray | None:
    """Return the vector, or `None` where the bytes are not those that were written."""
    vector = unsealed(content)
    return np.frombuffer(vector, dtype="<f4") if vector else None


def _identity(encoder: TextEncoder) -> str:
    return json.dumps(encoder.identity(), sort_keys=True)
