"""`Query`: a table as the answer of a database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl
from pydantic import Field

from polyrec.core.errors import UserError, missing_extra, nearest
from polyrec.core.spec import Spec

if TYPE_CHECKING:
    import pyarrow as pa


class Query(Spec):
    """A SQL query against DuckDB, SQLite or PostgreSQL; rows arrive as Arrow, never one by one.

    `duckdb:///folder/file.duckdb` and `sqlite:///folder/file.db` are files (three slashes, then the path; four for one from the
    root) opened for reading; `postgresql://user:password@host:port/database` is a server, reached through ADBC.
    """

    sql: str = Field(min_length=1)
    """The query, in the database's own SQL."""
    uri: str = Field(min_length=1)
    """Where the database is. A password in it is never shown in an error."""

    def read(self) -> pl.DataFrame:
        """Run the query and return its rows."""
        readers = {"duckdb": self._duckdb, "sqlite": self._sqlite, "postgresql": self._postgresql, "postgres": self._postgresql}
        scheme = self.uri.partition("://")[0]
        if scheme not in readers:
            remedy = nearest(scheme, readers)
            raise UserError(
                f"uri of the query, {self.shown!r}", expected="a database", found=f"the scheme {scheme!r}", remedy=remedy
            )
        frame = pl.from_arrow(readers[scheme]())
        assert isinstance(frame, pl.DataFrame)
        return frame

    @property
    def shown(self) -> str:
        """The uri with its password, if any, starred out."""
        return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.uri)

    def _duckdb(self) -> pa.Table:
        try:
            import duckdb
        except ImportError as error:
            raise missing_extra("duckdb", "sql", "a query against DuckDB") from error
        try:
            with duckdb.connect(str(self._file()), read_only=True) as connection:
                return connection.sql(self.sql).to_arrow_table()
        except duckdb.Error as error:
            raise self._failed(error) from error

    def _sqlite(self) -> pa.Table:
        try:
            from adbc_driver_sqlite import dbapi
        except ImportError as error:
            raise missing_extra("adbc-driver-sqlite", "sql", "a query against SQLite") from error
        return self._adbc(dbapi, f"file:{self._file()}?mode=ro")

    def _postgresql(self) -> pa.Table:
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise missing_extra("adbc-driver-postgresql", "sql", "a query against PostgreSQL") from error
        return self._adbc(dbapi, self.uri)

    def _adbc(self, dbapi: Any, uri: str) -> pa.Table:
        try:
            with dbapi.connect(uri) as connection, connection.cursor() as cursor:
                cursor.execute(self.sql)
                return cursor.fetch_arrow_table()
        except dbapi.Error as error:
            raise self._failed(error) from error

    def _file(self) -> Path:
        path = Path(self.uri.partition(":///")[2])
        if not path.is_file():
            raise UserError(f"database '{path}'", expected="a file", found="no such file", remedy="Check the path in the uri.")
        return path

    def _failed(self, error: Exception) -> UserError:
        told = str(error).strip()
        password = urlsplit(self.uri).password
        if password:
            told = told.replace(password, "***")
        remedy = "Check the query, and that the database is up and may be read."
        return UserError(f"query to {self.shown!r}", expected="an answer", found=told or type(error).__name__, remedy=remedy)
