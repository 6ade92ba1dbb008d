"""SQLite files that processes share, and bytes that say whether they were altered."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from polyrec.core.errors import UserError

_CHECKSUM = 4
"""Bytes of the checksum behind a content."""


def open_database(
    path: Path, tables: Sequence[str], is_durable: bool = False, timeout: float = 60, any_thread: bool = False
) -> sqlite3.Connection:
    """Open a file, made where it is not there, that any number of processes may read and write.

    What is committed outlives the process; where it is durable, a loss of power too. A lock is waited for up to `timeout`
    seconds. A connection for `any_thread` may be handed from one thread to another, one of which uses it at a time.
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
    """Turn whatever SQLite meets into a `UserError`."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        raise UserError(thing, expected="an SQLite file that can be written", found=f"{error}", remedy=remedy) from error


def sealed(content: bytes) -> bytes:
    """Return a content with its checksum behind it."""
    return content + zlib.crc32(content).to_bytes(_CHECKSUM, "little")


def unsealed(stored: bytes) -> bytes | None:
    """Return the content, or `None` where the bytes are not those that were written."""
    content = stored[:-_CHECKSUM]
    return content if stored == sealed(content) else None
