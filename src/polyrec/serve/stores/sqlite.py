"""A store in an SQLite file, for the workers of one machine; it needs no installation."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyrec.core.address import Address
from polyrec.core.database import open_database
from polyrec.core.errors import UserError
from polyrec.serve.stores.group_commit import GroupCommit
from polyrec.serve.stores.pool import Pool
from polyrec.serve.stores.records import Event, ItemChange, ServedList, stored_event
from polyrec.serve.stores.store import SCHEMA, Store, UnavailableError

_TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
    """CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, user TEXT NOT NULL,
        item TEXT NOT NULL, type TEXT NOT NULL, time REAL NOT NULL, "values" TEXT NOT NULL, arrived REAL NOT NULL) STRICT""",
    "CREATE INDEX events_of_user ON events (user, time, number)",
    """CREATE TABLE lists (number INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT UNIQUE NOT NULL, user TEXT,
        time REAL NOT NULL, content TEXT NOT NULL) STRICT""",
    "CREATE INDEX lists_of_user ON lists (user) WHERE user IS NOT NULL",
    "CREATE TABLE items (sequence INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT UNIQUE NOT NULL, columns TEXT NOT NULL) STRICT",
    "CREATE TABLE erasures (hash BLOB PRIMARY KEY, time REAL NOT NULL) STRICT, WITHOUT ROWID",
)
_EVENT = 'id, user, item, type, time, "values"'
_APPEND = f"""INSERT INTO events ({_EVENT}, arrived) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
    WHERE NOT EXISTS (SELECT 1 FROM erasures WHERE hash = ?8 AND time >= ?7) ON CONFLICT (id) DO NOTHING"""
_LOG_LIST = """INSERT INTO lists (request, user, time, content)
    SELECT ?1, iif(EXISTS (SELECT 1 FROM erasures WHERE hash = ?5 AND time >= ?3), NULL, ?2), ?3, ?4
    WHERE true ON CONFLICT (request) DO NOTHING"""
_MARK = 0x504C5952
"""Application id in the file's header that identifies a store."""

_READERS = 32


class SQLite(Store):
    """A file in WAL mode with `synchronous=FULL`: acknowledged writes survive `kill -9` and a loss of power.

    Concurrent writes of a process's threads share a commit (`GroupCommit`); processes take turns. All processes must run on the
    machine of the disk, because SQLite's locks and shared memory do not work across a network. Erased data is overwritten with
    zeros, in the write-ahead log when it is reused.
    """

    schemes = ("sqlite",)

    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__(address, timeout)
        if not address.path:
            remedy = "Write sqlite:///folder/events.sqlite: three slashes, then the path."
            raise UserError("address of a store", expected="the path of a file", found=repr(address.shown), remedy=remedy)
        self._path = Path(address.path)
        self._readers = Pool(self._connect, _READERS, timeout)
        with self._answering():
            self._writer = self._connect()
            try:
                self.key = self._prepare()
            except BaseException:
                self._writer.close()
                raise
        self._write: GroupCommit[Callable[[sqlite3.Connection], Any], Any] = GroupCommit(self._commit, sqlite3.OperationalError)

    def append(self, events: Sequence[Event], arrived: Sequence[float] | None = None) -> int:
        rows = self._rows(events, arrived)
        return self._writing(lambda database: database.executemany(_APPEND, rows).rowcount if rows else 0)

    def history(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        query = f"SELECT {_EVENT} FROM events WHERE user = ? AND time < ? ORDER BY time DESC, number DESC LIMIT ?"
        rows = self._read(query, user, float("inf") if before is None else before, limit)
        return [stored_event(*row) for row in reversed(rows)]

    def erase(self, user: str, at: float | None = None) -> None:
        now, until = (time.time(), float("inf")) if at is None else (at, at)

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM events WHERE user = ? AND arrived <= ?", (user, until))
            database.execute("UPDATE lists SET user = NULL WHERE user = ? AND time <= ?", (user, until))
            remember = "INSERT INTO erasures VALUES (?, ?) ON CONFLICT DO UPDATE SET time = max(time, excluded.time)"
            database.execute(remember, (self.hashed(user), now))

        self._writing(write)

    def erased_at(self, user: str) -> float | None:
        rows = self._read("SELECT time FROM erasures WHERE hash = ?", self.hashed(user))
        return rows[0][0] if rows else None

    def erased_hashes(self, beyond: int = -1) -> frozenset[bytes]:
        query = "SELECT hash FROM erasures WHERE (SELECT count(*) FROM erasures) > ?"
        return frozenset(hash_ for (hash_,) in self._read(query, beyond))

    def put_items(self, changes: Sequence[ItemChange]) -> int:
        def write(database: sqlite3.Connection) -> int:
            for change in changes:
                known = database.execute("SELECT columns FROM items WHERE item = ?", (change.item,)).fetchone()
                row = (change.item, change.over(known[0] if known else None))
                database.execute("INSERT OR REPLACE INTO items (item, columns) VALUES (?, ?)", row)
            return database.execute("SELECT coalesce(max(sequence), 0) FROM items").fetchone()[0]

        return self._writing(write)

    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        query = "SELECT item, columns, sequence FROM items WHERE sequence > ? ORDER BY sequence LIMIT ?"
        rows = self._read(query, sequence, limit)
        return [ItemChange(item=item, columns=json.loads(columns), sequence=number) for item, columns, number in rows]

    def log_lists(self, lists: Sequence[ServedList]) -> int:
        rows = [
            (
                served.request,
                served.user,
                served.time,
                served.model_dump_json(include={"model", "items", "shown"}),
                self._hashed_user(served),
            )
            for served in lists
        ]
        return self._writing(lambda database: database.executemany(_LOG_LIST, rows).rowcount if rows else 0)

    def lists_since(self, sequence: int, limit: int = 1000) -> tuple[list[ServedList], int]:
        query = "SELECT number, request, user, time, content FROM lists WHERE number > ? ORDER BY number LIMIT ?"
        rows = self._read(query, sequence, limit)
        lists = [ServedList(request=name, user=user, time=at, **json.loads(content)) for _, name, user, at, content in rows]
        return lists, rows[-1][0] if rows else sequence

    def events_since(self, sequence: int, limit: int = 1000) -> tuple[list[Event], int]:
        rows = self._read(f"SELECT {_EVENT}, number FROM events WHERE number > ? ORDER BY number LIMIT ?", sequence, limit)
        return [stored_event(*row[:-1]) for row in rows], rows[-1][-1] if rows else sequence

    def counters(self) -> dict[str, int]:
        return {table: self._read(f"SELECT count(*) FROM {table}")[0][0] for table in ("events", "lists", "items", "erasures")}

    def ping(self) -> None:
        """Take the lock of a write, without writing."""
        self._writing(lambda database: None)

    def close(self) -> None:
        self._readers.close()
        self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        database = open_database(self._path, (), is_durable=True, timeout=self.timeout, any_thread=True)
        database.isolation_level = None
        database.execute("PRAGMA secure_delete = ON")
        return database

    def _prepare(self) -> bytes:
        """Create the tables if there are none, and return the key of the hashes."""
        database = self._writer
        with _transaction(database):
            (mark,), (schema,) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
            if mark == _MARK:
                self._check_schema(schema)
            elif database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
                found, remedy = "a database of something else", "Name another file."
                raise UserError(f"store {self.address.shown!r}", expected="a store or no file", found=found, remedy=remedy)
            else:
                for table in _TABLES:
                    database.execute(table)
                database.execute("INSERT INTO facts VALUES ('key', ?)", (secrets.token_bytes(32),))
                database.execute(f"PRAGMA application_id = {_MARK}")
                database.execute(f"PRAGMA user_version = {SCHEMA}")
            return database.execute("SELECT value FROM facts WHERE name = 'key'").fetchone()[0]

    def _commit(self, writes: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        with _transaction(self._writer):
            return [write(self._writer) for write in writes]

    def _writing(self, write: Callable[[sqlite3.Connection], Any]) -> Any:
        with self._answering():
            return self._write(write)

    def _read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._answering(), self._readers() as database:
            return database.execute(query, parameters).fetchall()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except UnavailableError:
            raise
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._unavailable(error) from error


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
