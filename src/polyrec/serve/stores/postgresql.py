"""A store in a PostgreSQL server, for several machines; it may share a database with other data."""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from polyrec.core.address import Address
from polyrec.core.errors import UserError, missing_extra
from polyrec.serve.stores.pool import Pool
from polyrec.serve.stores.records import Event, ItemChange, ServedList, stored_event
from polyrec.serve.stores.store import SCHEMA, Store, UnavailableError

if TYPE_CHECKING:
    import psycopg

_LOGGER = logging.getLogger(__name__)

_CONNECTIONS = 16
_SHUT_DOWN = "57P01"

_LOCK = 0x706F6C79726563
"""Advisory lock: shared by appends, exclusive for operations that must see all appends or exclude them."""
_TOGETHER, _ALONE = f"SELECT pg_advisory_xact_lock_shared({_LOCK})", f"SELECT pg_advisory_xact_lock({_LOCK})"

_TABLES = (
    "CREATE SCHEMA polyrec",
    "CREATE TABLE polyrec.facts (schema int NOT NULL, key bytea NOT NULL)",
    """CREATE TABLE polyrec.events (number bigserial PRIMARY KEY, id text UNIQUE NOT NULL, "user" text NOT NULL,
        item text NOT NULL, type text NOT NULL, time float8 NOT NULL, "values" text NOT NULL, arrived float8 NOT NULL)""",
    'CREATE INDEX events_of_user ON polyrec.events ("user", time, number)',
    """CREATE TABLE polyrec.lists (number bigserial PRIMARY KEY, request text UNIQUE NOT NULL, "user" text,
        time float8 NOT NULL, content text NOT NULL)""",
    'CREATE INDEX lists_of_user ON polyrec.lists ("user") WHERE "user" IS NOT NULL',
    "CREATE TABLE polyrec.items (item text PRIMARY KEY, columns text NOT NULL, sequence bigserial UNIQUE)",
    "CREATE TABLE polyrec.erasures (hash bytea PRIMARY KEY, time float8 NOT NULL)",
)
_EVENT = 'id, "user", item, type, time, "values"'
# Numbers follow the order of arrival, but rows are inserted in order of id, so that batches with common ids cannot deadlock.
_APPEND = f"""WITH given AS MATERIALIZED (
    SELECT nextval('polyrec.events_number_seq') AS number, event.* FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[],
        %s::float8[], %s::text[], %s::float8[], %s::bytea[]) AS event ({_EVENT}, arrived, hash))
    INSERT INTO polyrec.events (number, {_EVENT}, arrived) SELECT number, {_EVENT}, arrived FROM given
    WHERE NOT EXISTS (SELECT 1 FROM polyrec.erasures WHERE erasures.hash = given.hash AND erasures.time >= given.arrived)
    ORDER BY id ON CONFLICT (id) DO NOTHING"""
_LOG_LISTS = """INSERT INTO polyrec.lists (request, "user", time, content)
    SELECT request, CASE WHEN EXISTS (SELECT 1 FROM polyrec.erasures WHERE erasures.hash = list.hash
        AND erasures.time >= list.time) THEN NULL ELSE "user" END, time, content
    FROM unnest(%s::text[], %s::text[], %s::float8[], %s::text[], %s::bytea[]) AS list (request, "user", time, content, hash)
    ORDER BY request ON CONFLICT (request) DO NOTHING"""
_PUT_ITEM = """INSERT INTO polyrec.items (item, columns) VALUES (%s, %s)
    ON CONFLICT (item) DO UPDATE SET columns = excluded.columns, sequence = excluded.sequence"""
_REMEMBER = """INSERT INTO polyrec.erasures AS known VALUES (%s, %s)
    ON CONFLICT (hash) DO UPDATE SET time = greatest(known.time, excluded.time)"""


class PostgreSQL(Store):
    """A schema `polyrec` in a database in UTF8. Acknowledged writes are flushed, because `synchronous_commit` is switched on.

    Appends run concurrently. Reading the log, erasing and changing items wait until appends in progress have ended. No number
    thus becomes visible after a greater one was read, and reading the log never skips an event.
    """

    schemes = ("postgresql", "postgres")

    def __init__(self, address: Address, timeout: float) -> None:
        super().__init__(address, timeout)
        try:
            import psycopg
        except ImportError as error:
            raise missing_extra("psycopg[binary]", "serve", "a store in PostgreSQL") from error
        self._psycopg = psycopg

        class Connection(psycopg.Connection[tuple[Any, ...]]):
            """A connection that gives up after the store's timeout; psycopg itself waits without limit."""

            def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = timeout) -> Any:
                try:
                    return super().wait(gen, interval, timeout)
                except psycopg.errors._WaitTimeout:
                    self.close()
                    raise TimeoutError(f"no answer within {timeout:g} s") from None

        self._kind = Connection
        self._pool = Pool(self._connect, _CONNECTIONS, timeout)
        try:
            psycopg.conninfo.conninfo_to_dict(address.text)
        except psycopg.Error:
            remedy = "Write postgresql://user:password@host:5432/database, with a percent-encoded password."
            found = "one that cannot be read"
            raise UserError(f"store {address.shown!r}", expected="an address", found=found, remedy=remedy) from None
        try:
            self.key = self._run(self._prepare)
        except BaseException:
            self._pool.close()
            raise

    def append(self, events: Sequence[Event], arrived: Sequence[float] | None = None) -> int:
        if not events:
            return 0
        rows = self._rows(events, arrived)

        def work(connection: psycopg.Connection[Any]) -> int:
            connection.execute(_TOGETHER)
            return connection.execute(_APPEND, [list(column) for column in zip(*rows, strict=True)]).rowcount

        return self._run(work)

    def history(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        query = (
            f"""SELECT {_EVENT} FROM polyrec.events WHERE "user" = %s AND time < %s ORDER BY time DESC, number DESC LIMIT %s"""
        )
        rows = self._read(query, user, math.inf if before is None else before, limit)
        return [stored_event(*row) for row in reversed(rows)]

    def erase(self, user: str, at: float | None = None) -> None:
        now, until = (time.time(), math.inf) if at is None else (at, at)

        def work(connection: psycopg.Connection[Any]) -> None:
            connection.execute(_ALONE)
            connection.execute('DELETE FROM polyrec.events WHERE "user" = %s AND arrived <= %s', (user, until))
            connection.execute('UPDATE polyrec.lists SET "user" = NULL WHERE "user" = %s AND time <= %s', (user, until))
            connection.execute(_REMEMBER, (self.hashed(user), now))

        self._run(work)

    def erased_at(self, user: str) -> float | None:
        rows = self._read("SELECT time FROM polyrec.erasures WHERE hash = %s", self.hashed(user))
        return rows[0][0] if rows else None

    def erased_hashes(self, beyond: int = -1) -> frozenset[bytes]:
        query = "SELECT hash FROM polyrec.erasures WHERE (SELECT count(*) FROM polyrec.erasures) > %s"
        return frozenset(bytes(hash_) for (hash_,) in self._read(query, beyond))

    def put_items(self, changes: Sequence[ItemChange]) -> int:
        def work(connection: psycopg.Connection[Any]) -> int:
            connection.execute(_ALONE)
            query = "SELECT item, columns FROM polyrec.items WHERE item = ANY(%s)"
            known = dict(connection.execute(query, ([change.item for change in changes],)).fetchall())
            rows = []
            for change in changes:
                known[change.item] = change.over(known.get(change.item))
                rows.append((change.item, known[change.item]))
            with connection.cursor() as cursor:
                cursor.executemany(_PUT_ITEM, rows)
            last = connection.execute("SELECT coalesce(max(sequence), 0) FROM polyrec.items").fetchone()
            return last[0] if last else 0

        return self._run(work)

    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        query = "SELECT item, columns, sequence FROM polyrec.items WHERE sequence > %s ORDER BY sequence LIMIT %s"
        rows = self._read(query, sequence, limit)
        return [ItemChange(item=item, columns=json.loads(columns), sequence=number) for item, columns, number in rows]

    def log_lists(self, lists: Sequence[ServedList]) -> int:
        if not lists:
            return 0
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

        def work(connection: psycopg.Connection[Any]) -> int:
            connection.execute(_TOGETHER)
            return connection.execute(_LOG_LISTS, [list(column) for column in zip(*rows, strict=True)]).rowcount

        return self._run(work)

    def lists_since(self, sequence: int, limit: int = 1000) -> tuple[list[ServedList], int]:
        rows = self._page('number, request, "user", time, content', "lists", sequence, limit)
        lists = [ServedList(request=name, user=user, time=at, **json.loads(content)) for _, name, user, at, content in rows]
        return lists, rows[-1][0] if rows else sequence

    def events_since(self, sequence: int, limit: int = 1000) -> tuple[list[Event], int]:
        rows = self._page(f"{_EVENT}, number", "events", sequence, limit)
        return [stored_event(*row[:-1]) for row in rows], rows[-1][-1] if rows else sequence

    def counters(self) -> dict[str, int]:
        tables = ("events", "lists", "items", "erasures")
        return {table: self._read(f"SELECT count(*) FROM polyrec.{table}")[0][0] for table in tables}

    def ping(self) -> None:
        """Check that the server answers and is not read-only."""
        (is_read_only,) = self._read("SELECT current_setting('transaction_read_only')")[0]
        if is_read_only == "on":
            raise self._unavailable("a read-only server")

    def close(self) -> None:
        self._pool.close()

    def _connect(self) -> psycopg.Connection[Any]:
        connection = self._kind.connect(self.address.text, connect_timeout=max(2, math.ceil(self.timeout)), autocommit=True)
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        return connection

    def _prepare(self, connection: psycopg.Connection[Any]) -> bytes:
        """Create the tables if there are none, and return the key of the hashes."""
        thing = f"store {self.address.shown!r}"
        encoding, flushes = connection.execute(
            "SELECT current_setting('server_encoding'), current_setting('fsync')"
        ).fetchone() or ("", "")
        if encoding != "UTF8":
            remedy = "Create one with ENCODING 'UTF8'."
            raise UserError(thing, expected="a database in UTF8", found=encoding, remedy=remedy)
        if flushes != "on":
            _LOGGER.warning("%s has `fsync %s`: a loss of power may lose acknowledged events", thing, flushes)
        connection.execute(_ALONE)
        if connection.execute("SELECT to_regclass('polyrec.facts')").fetchone() == (None,):
            for table in _TABLES:
                connection.execute(table)
            connection.execute("INSERT INTO polyrec.facts VALUES (%s, %s)", (SCHEMA, secrets.token_bytes(32)))
        schema, key = connection.execute("SELECT schema, key FROM polyrec.facts").fetchone() or (0, b"")
        self._check_schema(schema)
        return key

    def _page(self, columns: str, table: str, sequence: int, limit: int) -> list[tuple[Any, ...]]:
        """Return rows after a number, up to the last one before which no uncommitted row can become visible."""

        def bound(connection: psycopg.Connection[Any]) -> int:
            connection.execute(_ALONE)
            last = connection.execute(f"SELECT last_value FROM polyrec.{table}_number_seq").fetchone()
            return last[0] if last else 0

        last = self._run(bound)
        query = f"SELECT {columns} FROM polyrec.{table} WHERE number > %s AND number <= %s ORDER BY number LIMIT %s"
        return self._read(query, sequence, last, limit)

    def _read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(query, parameters).fetchall(), in_transaction=False)

    def _run(self, work: Callable[[psycopg.Connection[Any]], Any], in_transaction: bool = True) -> Any:
        """Do work on a connection; retry once on a new one if the server had closed the connection."""
        with self._answering():
            try:
                return self._once(work, in_transaction)
            except self._psycopg.OperationalError as error:
                self._pool.clear()
                if error.sqlstate not in (None, _SHUT_DOWN):
                    raise
            return self._once(work, in_transaction)

    def _once(self, work: Callable[[psycopg.Connection[Any]], Any], in_transaction: bool) -> Any:
        with self._pool() as connection:
            if not in_transaction:
                return work(connection)
            with connection.transaction():
                return work(connection)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (UnavailableError, self._psycopg.DataError, self._psycopg.IntegrityError, self._psycopg.ProgrammingError):
            raise
        except (self._psycopg.Error, OSError) as error:
            raise self._unavailable(error) from None
