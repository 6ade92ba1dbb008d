"""States that the frozen layers of a language model compute of a text, cached between runs in one SQLite file.

Shape letters: L tokens of a text, D width.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from polyrec.core.cache import cache_folder
from polyrec.core.database import open_database, sealed, telling, unsealed
from polyrec.core.errors import UserError

FORMAT = 1
"""Part of every key; increase it when the stored bytes or the arithmetic change."""

CHUNK = 64
"""Number of texts whose states are computed and committed at a time."""

LIMIT = 8 * 2**30
"""Maximum number of bytes of the file; beyond it the oldest states are deleted."""

_TABLE = "CREATE TABLE IF NOT EXISTS states (number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB UNIQUE, states BLOB)"

Compute = Callable[[Sequence[Tensor]], list[Tensor]]
"""Function from texts, each as token ids (L,), to their states: (L, D), or (1, D) if they are already pooled."""


class LowerStates:
    """Cached states by the content of model and tokens; missing ones are computed.

    Any number of processes may share the file. Set `half` to store states in half precision; newly computed states are rounded
    too, so that the result does not depend on what is cached.
    """

    def __init__(self, identity: str, width: int, half: bool) -> None:
        self.identity, self.width, self.kind = identity, width, np.dtype("<f2" if half else "<f4")

    def of(self, texts: Sequence[Tensor], compute: Compute) -> list[Tensor]:
        """Return the states of some texts, in float32."""
        keys = [self._key(text) for text in texts]
        with closing(_open()) as database:
            states_of = {key: states for key in keys if (states := self._stored(database, key)) is not None}
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in states_of}
            for start in range(0, len(missing), CHUNK):
                part = list(missing)[start : start + CHUNK]
                computed = dict(zip(part, compute([missing[key] for key in part]), strict=True))
                packed = {key: self._pack(states) for key, states in computed.items()}
                with database:
                    _make_room(database, sum(len(content) for content in packed.values()))
                    database.executemany("INSERT OR REPLACE INTO states (key, states) VALUES (?, ?)", packed.items())
                states_of |= {key: self._unpack(content) for key, content in packed.items()}
        return [states_of[key] for key in keys]

    def _key(self, text: Tensor) -> bytes:
        prefix = f"{FORMAT}\n{self.identity}\n{self.kind.str}\n".encode()
        return hashlib.sha256(prefix + text.numpy().astype("<i4").tobytes()).digest()

    def _pack(self, states: Tensor) -> bytes:
        """Return states as bytes, followed by their checksum."""
        values = states.numpy().astype(self.kind)
        if not np.isfinite(values).all():
            expected = "states of frozen layers within half precision, none above 65,504"
            remedy = "Store them in single precision: states='float32'."
            raise UserError("language model", expected=expected, found="larger ones", remedy=remedy)
        return sealed(values.tobytes())

    def _unpack(self, stored: bytes) -> Tensor:
        values = np.frombuffer(stored, self.kind, (len(stored) - 4) // self.kind.itemsize)
        return torch.from_numpy(values.reshape(-1, self.width).astype(np.float32))

    def _stored(self, database: sqlite3.Connection, key: bytes) -> Tensor | None:
        row = database.execute("SELECT states FROM states WHERE key = ?", (key,)).fetchone()
        return self._unpack(row[0]) if row is not None and unsealed(row[0]) is not None else None


def states_path() -> Path:
    """Return the file of the cached states."""
    return cache_folder() / "states.sqlite"


def _open() -> sqlite3.Connection:
    path = states_path()
    remedy = "Remove the file (states are then computed again), or move the cache with POLYREC_CACHE."
    with telling(f"cache of states '{path}'", remedy):
        return open_database(path, [_TABLE])


def _make_room(database: sqlite3.Connection, bytes_more: int) -> None:
    """Delete the oldest states, a tenth at a time, until `bytes_more` fit under the limit."""
    first = "SELECT number FROM states ORDER BY number LIMIT ?"
    while _size(database) + bytes_more > LIMIT:
        (rows,) = database.execute("SELECT COUNT(*) FROM states").fetchone()
        if rows == 0:
            return
        database.execute(f"DELETE FROM states WHERE number IN ({first})", (-(-rows // 10),))


def _size(database: sqlite3.Connection) -> int:
    """Return the number of bytes in use in the file."""
    (page,), (pages,), (free,) = (
        database.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    return int(page * (pages - free))
