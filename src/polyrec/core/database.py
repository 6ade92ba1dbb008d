"""SQLite files shared by processes, and checksums of stored bytes."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from polyrec.core.errors import UserError

_CHECKSUM = 4
"""Bytes of the checksum appended to a content."""


def open_database(
    path: Path, tables: Sequence[str], is_durable: bool = False, timeout: float = 60, any_thread: bool = False
) -> sqlite3.Connection:
    """Open an SQLite file that any number of processes may read and write; create it if missing.

    Committed rows survive the end of the process. Set `is_durable` if they must also survive a power loss. `timeout`: seconds
    to wait for a lock. Set `any_thread` if several threads use the connection, one at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=timeout, check_same_thread=not any_thread)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        if not is_durable:
            database.execute("PRAGMA synchronous=NORMAL")
        for table in tables:
            database.execute(table)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


@contextmanager
def telling(thing: str, remedy: str) -> Iterator[None]:
    """Raise `UserError` for errors of SQLite and of the file system."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise UserError(thing, expected="an SQLite file that can be written", found=f"{error}", remedy=remedy) from error


def sealed(content: bytes) -> bytes:
    """Return a content followed by its checksum."""
    return content + zlib.crc32(content).to_bytes(_CHECKSUM, "little")


def unsealed(stored: bytes) -> bytes | None:
    """Return the content, or `None` if the checksum does not match."""
    content = stored[:-_CHECKSUM]
    return content if stored == sealed(content) else None
