"""Queries against real databases."""

import sqlite3
import sys
import traceback
from pathlib import Path

import duckdb
import polars as pl
import pytest
from adbc_driver_postgresql import dbapi
from pydantic import ValidationError

from polyrec import Binary, Categorical, Query, Recommender, Training, UserError
from polyrec.data.read.sources import read

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
        with pytest.raises(UserError, match=r"expected a result, found (.|\n)*nowhere"):
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


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mysql://reader:s3cret@localhost/shop", "mysql://reader:***@localhost/shop"),
        ("postgresql://reader:s3cret@127.0.0.1:1/shop", "reader:***@127.0.0.1:1/shop"),
        ("postgresql://127.0.0.1:1/shop?password=s3cret", "127.0.0.1:1/shop?***"),
        ("postgresql://reader:s3cret%zz@127.0.0.1:1/shop", "reader:***@127.0.0.1:1/shop"),
        ("postgresql://reader:1/s3cret@127.0.0.1:1/shop", "expected a password in percent-encoding"),
        ("postgresql://reader:[s3cret@127.0.0.1:1/shop", "reader:***@127.0.0.1:1/shop"),
        ("postgresql://reader:1@s3cret@127.0.0.1:1/shop", "expected a password in percent-encoding"),
        ("reader:s3cret@localhost/shop", "expected scheme://"),
        ("sqlite://reader:s3cret@shop.db", "three slashes"),
    ],
)
def test_the_password_is_never_shown_however_it_is_written(uri: str, shown: str):
    query = Query(sql="SELECT 1", uri=uri)
    with pytest.raises(UserError) as caught:
        read(query)
    assert shown in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + repr(query)


def test_the_password_is_not_shown_where_the_query_is_misspelt():
    with pytest.raises(ValidationError, match=r"has no field 'sqll'\. Did you mean 'sql'") as caught:
        Query(sqll="SELECT 1", uri="postgresql://reader:s3cret@localhost/shop")
    assert "s3cret" not in str(caught.value)


def test_an_at_sign_among_the_parameters_is_no_password(postgresql_uri: str):
    uri = postgresql_uri.replace("reader:s3cret-word@", "") + "?user=reader@tenant&password=s3cret-word"
    with pytest.raises(UserError, match='password authentication failed for user "reader@tenant"'):
        read(Query(sql="SELECT 1", uri=uri))


def test_types_of_postgresql(postgresql_uri: str):
    columns = ("1.5::numeric AS price", "'[1]'::jsonb AS json", "ARRAY['x', NULL] AS tags", "timestamptz '2026-01-01Z' AS time")
    frame = read(Query(sql=f"SELECT {', '.join(columns)}", uri=postgresql_uri))
    assert frame.schema == {
        "price": pl.Float64,
        "json": pl.String,
        "tags": pl.List(pl.String),
        "time": pl.Datetime("us", "UTC"),
    }
    assert frame.row(0)[:3] == (1.5, "[1]", ["x", None])


def test_types_that_arrow_lacks_are_refused(postgresql_uri: str):
    for expression in ("row(1, 2)", "interval '1 day'"):
        with pytest.raises(UserError, match=r"query to .*expected a result"):
            read(Query(sql=f"SELECT {expression} AS a", uri=postgresql_uri))


def test_numeric_that_no_float_holds_is_refused(postgresql_uri: str):
    with pytest.raises(UserError, match=r"column 'id' of the query.*: expected numeric values below 2\^53.*Cast it"):
        read(Query(sql="SELECT 9007199254740993::numeric AS id", uri=postgresql_uri))


def test_sqlite_types_a_column_by_all_of_its_rows(sqlite_uri: str):
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT {} AS a FROM n"
    late = {"CASE WHEN i > 4000 THEN 1.5 ELSE i END": pl.Float64, "CASE WHEN i > 4000 THEN 'x' END": pl.String}
    for expression, kind in late.items():
        assert read(Query(sql=sql.format(expression), uri=sqlite_uri)).schema == {"a": kind}


def test_a_query_that_fails_on_a_later_row_is_refused(sqlite_uri: str):
    with pytest.raises(UserError, match=r"query to .*expected a result, found .*malformed JSON"):
        read(Query(sql="SELECT json(a) AS a FROM (SELECT '1' AS a UNION ALL SELECT 'bad')", uri=sqlite_uri))


def test_a_file_whose_name_is_no_plain_word(tmp_path: Path, sqlite_uri: str):
    Path(sqlite_uri.removeprefix("sqlite:///")).rename(tmp_path / "50% of what? #1.db")
    assert read(Query(sql="SELECT * FROM t", uri=f"sqlite:///{tmp_path}/50% of what? #1.db")).height == 2
    assert [path.name for path in tmp_path.iterdir()] == ["50% of what? #1.db"]


@pytest.mark.parametrize("database", ["duckdb", "sqlite", "postgresql"])
def test_a_name_that_stands_twice_in_an_answer_is_refused(request: pytest.FixtureRequest, database: str):
    uri = request.getfixturevalue(f"{database}_uri")
    with pytest.raises(UserError, match=r"column 'id' of the query to .*expected one column of this name, found 2"):
        read(Query(sql="SELECT id, id FROM t", uri=uri))


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_what_is_no_database_is_refused(tmp_path: Path, scheme: str):
    (tmp_path / "a.db").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match="database"):
        read(Query(sql="SELECT 1 FROM t", uri=f"{scheme}:///{tmp_path}/a.db"))


def test_a_statement_without_rows_is_refused(duckdb_uri: str):
    with pytest.raises(UserError, match="found the statement returns no rows"):
        read(Query(sql="-- nothing", uri=duckdb_uri))


@pytest.mark.parametrize(
    ("uri", "module", "package"),
    [
        ("duckdb:///a", "duckdb", "duckdb"),
        ("sqlite:///a", "adbc_driver_sqlite", "adbc-driver-sqlite"),
        ("postgresql://a/b", "adbc_driver_postgresql", "adbc-driver-postgresql"),
    ],
)
def test_a_missing_package_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, uri: str, module: str, package: str):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs the package '{package}': pip install 'polyrec\[sql\]'"):
        read(Query(sql="SELECT 1", uri=uri))


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
    with pytest.raises(UserError, match=r"found the scheme 'postgress'\. Did you mean 'postgres'"):
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
