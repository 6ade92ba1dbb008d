"""`Query`: a table that a SQL query returns."""

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
    """A SQL query against DuckDB, SQLite or PostgreSQL; rows are transferred as Arrow, never one by one.

    `duckdb:///folder/file.duckdb` and `sqlite:///folder/file.db` are files, opened read-only (three slashes before a relative
    path, four before an absolute one). `postgresql://user:password@host:port/database` is a server, reached through ADBC.
    PostgreSQL's `numeric` becomes float and its JSON becomes text; cast other PostgreSQL types in the query (`id::text`).
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    sql: str = Field(min_length=1)
    """The query, in the SQL dialect of the database."""
    uri: str = Field(min_length=1)
    """Address of the database. Errors never show its password."""

    def read(self) -> pl.DataFrame:
        """Run the query and return its rows."""
        readers = {"duckdb": self._duckdb, "sqlite": self._sqlite, "postgresql": self._postgresql, "postgres": self._postgresql}
        scheme = self.address.scheme
        if not scheme:
            remedy = f"Known: {', '.join(f'{known}://' for known in readers)}."
            raise UserError("uri of the query", expected="scheme://…", found="no scheme", remedy=remedy)
        if scheme not in readers:
            thing, remedy = f"uri of the query, {self.address.shown!r}", nearest(scheme, readers)
            raise UserError(thing, expected="a supported database", found=f"the scheme {scheme!r}", remedy=remedy)
        try:
            return from_table(readers[scheme](), f"query to {self.address.shown!r}")
        except PolarsError as error:
            raise self._failed(error) from None

    @property
    def address(self) -> Address:
        """The URI as an `Address`, which separates its secrets from what errors may show."""
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
                result = connection.sql(self.sql)
                if result is None:
                    raise duckdb.InvalidInputException("the statement returns no rows")
                return result.to_arrow_table()
        except duckdb.Error as error:
            raise self._failed(error) from None

    def _sqlite(self) -> pa.Table:
        try:
            from adbc_driver_sqlite import dbapi
        except ImportError as error:
            raise missing_extra("adbc-driver-sqlite", "sql", "a query against SQLite") from error
        # SQLite types values, not columns. The driver infers a column's type from the first batch, so one batch has all rows.
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
        """Return an error with the database's message, without the secrets of the URI."""
        found = self.address.without_secrets(error)
        remedy = "Check the query, and check that the database is running and readable."
        return UserError(f"query to {self.address.shown!r}", expected="a result", found=found, remedy=remedy)
