"""Queries against real databases."""

import sqlite3
from pathlib import Path

import duckdb
import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

from polyrec import Binary, Categorical, Query, Recommender, Training, UserError
from polyrec.data.sources import read

ROWS = [(1, "Ünï", 4.5), (2, None, None)]
EXPECTED = pl.DataFrame({"id": [1, 2], "name": ["Ünï", None], "stars": [4.5, None]})


@pytest.fixture
def duckdb_uri(tmp_path: Path) -> str:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute("CREATE TABLE t (id BIGINT, name TEXT, stars DOUBLE)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
    return f"duckdb:///{tmp_path}/a.duckdb"


@pytest.fixture
def sqlite_uri(tmp_path: Path) -> str:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (id INTEGER, name TEXT, stars REAL)")
    connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
    connection.commit()
    connection.close()
    return f"sqlite:///{tmp_path}/a.db"


@pytest.fixture(scope="session")
def postgresql_uri(postgresql: str) -> str:
    with dbapi.connect(postgresql) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id BIGINT, name TEXT, stars DOUBLE PRECISION)")
        cursor.execute("INSERT INTO t VALUES (1, 'Ünï', 4.5), (2, NULL, NULL)")
        connection.commit()
    return postgresql


@pytest.mark.parametrize("database", ["duckdb", "sqlite", "postgresql"])
class TestEveryDatabase:
    @pytest.fixture
    def uri(self, request: pytest.FixtureRequest, database: str) -> str:
        return request.getfixturevalue(f"{database}_uri")

    def test_rows_and_types(self, uri: str):
        assert read(Query(sql="SELECT * FROM t ORDER BY id", uri=uri)).equals(EXPECTED)

    def test_a_failing_query_tells_the_databases_words(self, uri: str):
        with pytest.raises(UserError, match=r"expected an answer, found (.|\n)*nowhere"):
            read(Query(sql="SELECT * FROM nowhere", uri=uri))

    def test_no_rows_are_refused(self, uri: str):
        with pytest.raises(UserError, match="expected a table with rows, found 0 rows and 3 columns"):
            read(Query(sql="SELECT * FROM t WHERE id > 9", uri=uri))


def test_the_password_is_never_shown(postgresql_uri: str):
    wrong = postgresql_uri.replace("s3cret-word", "wr0ng-word")
    for uri, sql in ((wrong, "SELECT 1"), (postgresql_uri, "SELECT * FROM nowhere")):
        with pytest.raises(UserError) as caught:
            read(Query(sql=sql, uri=uri))
        assert "word" not in str(caught.value).replace("password authentication", "")
        assert "reader:***@127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_a_missing_file_is_not_created(tmp_path: Path, scheme: str):
    with pytest.raises(UserError, match=r"database '.*nowhere\.db': expected a file, found no such file"):
        read(Query(sql="SELECT 1", uri=f"{scheme}:///{tmp_path}/nowhere.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_database_cannot_be_written(sqlite_uri: str, duckdb_uri: str):
    for uri in (sqlite_uri, duckdb_uri):
        with pytest.raises(UserError):
            read(Query(sql="DELETE FROM t", uri=uri))
        assert read(Query(sql="SELECT * FROM t", uri=uri)).height == 2


def test_an_unknown_scheme_is_refused_with_the_nearest():
    with pytest.raises(UserError, match="found the scheme 'postgress'. Did you mean 'postgres'"):
        read(Query(sql="SELECT 1", uri="postgress://localhost/x"))


def test_a_recommender_fits_straight_from_a_server(postgresql_uri: str):
    sql = "SELECT i AS row, i % 5 AS user_id, i % 7 AS item_id, (i % 2 = 0) AS clicked FROM generate_series(1, 400) AS i"
    recommender = Recommender(
        user=(Categorical(name="user_id"),),
        item=(Categorical(name="item_id"),),
        tasks=(Binary(name="click", label="clicked"),),
        training=Training(epochs=1),
    )
    assert recommender.fit(Query(sql=sql, uri=postgresql_uri), progress=False).items.height == 7
