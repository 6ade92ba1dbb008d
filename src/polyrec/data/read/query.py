"""`Query`: a table as the answer of a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError
from pydantic import ConfigDict, Field

from polyrec.core.address import Address
from polyrec.core.errors import UserError, missing_extra, nearest
from polyrec.core.spec import Spec
from polyrec.data.read.arrow import from_table

if TYPE_CHECKING:
    import pyarrow as pa


class Query(Spec):
    """A SQL query against DuckDB, SQLite or PostgreSQL; rows arrive as Arrow, never one by one.

    `duckdb:///folder/file.duckdb` and `sqlite:///folder/file.db` are files (three slashes, then the path; four for one from the
    root) opened for reading; `postgresql://user:password@host:port/database` is a server, reached through ADBC. PostgreSQL's
    `numeric` arrives as floats and its JSON as text; cast other types of its own in the query (`id::text`).
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    sql: str = Field(min_length=1)
    """The query, in the database's own SQL."""
    uri: str = Field(min_length=1)
    """Where the database is. A password in it is never shown in an error."""

    def read(self) -> pl.DataFrame:
        """Run the query and return its rows."""
        readers = {"duckdb": self._duckdb, "sqlite": self._sqlite, "postgresql": self._postgresql, "postgres": self._postgresql}
        scheme = self.address.scheme
        if not scheme:
            remedy = f"Known: {', '.join(f'{known}://' for known in readers)}."
            raise UserError("uri of the query", expected="scheme://…", found="no scheme", remedy=remedy)
        if scheme not in readers:
            thing, remedy = f"uri of the query, {self.address.shown!r}", nearest(scheme, readers)
            raise UserError(thing, expected="a database", found=f"the scheme {scheme!r}", remedy=remedy)
        try:
            return from_table(readers[scheme](), f"query to {self.address.shown!r}")
        except PolarsError as error:
            raise self._failed(error) from None

    @property
    def address(self) -> Address:
        """The uri as what knows which of it may be shown."""
        return Address(self.uri)

    def __repr_args__(self) -> Iterator[tuple[str, str]]:
        yield from (("sql", self.sql), ("uri", self.address.shown))

    def _duckdb(self) -> pa.Table:
        try:
            import duckdb
        except ImportError as error:
            raise missing_extra("duckdb", "sql", "a query against DuckDB") from error
        try:
            with duckdb.connect(str(self._file()), read_only=True) as connection:
                answer = connection.sql(self.sql)
                if answer is None:
                    raise duckdb.InvalidInputException("the statement gives no rows")
                return answer.to_arrow_table()
        except duckdb.Error as error:
            raise self._failed(error) from None

    def _sqlite(self) -> pa.Table:
        try:
            from adbc_driver_sqlite import dbapi
        except ImportError as error:
            raise missing_extra("adbc-driver-sqlite", "sql", "a query against SQLite") from error
        # SQLite types values, not columns: the driver takes a column's type from the first batch, so all rows are one batch.
        return self._adbc(dbapi, f"{self._file().absolute().as_uri()}?mode=ro", {"adbc.sqlite.query.batch_rows": "1000000000"})

    def _postgresql(self) -> pa.Table:
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise missing_extra("adbc-driver-postgresql", "sql", "a query against PostgreSQL") from error
        self.address.check("uri of the query")
        return self._adbc(dbapi, self.uri, {})

    def _adbc(self, dbapi: Any, uri: str, options: dict[str, str]) -> pa.Table:
        try:
            with dbapi.connect(uri) as connection, connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**options)
                cursor.execute(self.sql)
                return cursor.fetch_arrow_table()
        except (dbapi.Error, OSError) as error:
            raise self._failed(error) from None

    def _file(self) -> Path:
        name = self.address.path
        path = Path(name)
        if not name or not path.is_file():
            found = "no such file" if name else f"{self.address.shown!r}"
            remedy = "Check the path in the uri: three slashes, then the path."
            raise UserError(f"database '{name}'", expected="a file", found=found, remedy=remedy)
        return path

    def _failed(self, error: Exception) -> UserError:
        """Return what the database said, without the secrets of the uri."""
        told = self.address.without_secrets(error)
        remedy = "Check the query, and that the database is up and may be read."
        return UserError(f"query to {self.address.shown!r}", expected="an answer", found=told, remedy=remedy)
