"""SQL expressions compute over the columns of a table and do nothing else."""

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec import UserError
from polyrec.data.conditions.expressions import columns_of, evaluate, meets
from polyrec.data.conditions.reading_sql import DEEPEST, FUNCTIONS, LONGEST, MOST_SUMS, MOST_WORDS, TYPES, read_sql

FRAME = pl.DataFrame(
    {
        "n": [1, 2, 3],
        "x": [1.5, -2.5, 0.25],
        "s": ["ab", "Cd", None],
        "yes": [True, False, None],
        "tags": [["a"], ["b", "c"], None],
        "of": [{"at": 1}, {"at": 2}, {"at": 3}],
        "day": [date(2020, 1, 1), date(2021, 5, 6), None],
        "clock": [datetime(2020, 1, 1, 5), datetime(2021, 5, 6, 7), None],
        "like": [1, 0, 1],
        "end": [4, 5, 6],
        "select": [7, 8, 9],
        "größe": [1, 2, 3],
    }
)


class TestRefused:
    @pytest.mark.parametrize(
        ("sql", "word"),
        [
            ("n IN (SELECT 1)", "SELECT"),
            ("n = (select n)", "select"),
            ("EXISTS (SELECT 1)", "EXISTS"),
            ("n IN (WITH t AS (SELECT 1) SELECT 1)", "WITH"),
            ("n IN (VALUES (1))", "VALUES"),
            ("n IN (TABLE t)", "TABLE"),
            ("n FROM t", "FROM"),
            ("n UNION n", "UNION"),
            ("EXTRACT(year, FROM day)", "FROM"),
            ("n FROM (n)", "FROM"),
            ("read_csv('/etc/passwd')", "read_csv"),
            ("REPLACE(s, 'a', 'aaaaaaaaaa') = 'b'", "REPLACE"),
            ("LPAD(s, 1000000000, 'a') = 'b'", "LPAD"),
            ("CONCAT(s, s)", "CONCAT"),
            ("s || s", "||"),
            ("REGEXP_LIKE(s, '(a{1000}){1000}')", "REGEXP_LIKE"),
            ("s ~ '(a{1000}){1000}'", "~"),
            ("COLUMNS('.*')", "COLUMNS"),
            ("UNNEST(tags)", "UNNEST"),
            ("RANDOM() > 0.5", "RANDOM"),
            ("atan2(of, 1)", "atan2"),
            ("COUNT(*)", "COUNT"),
            ("SUM(n)", "SUM"),
            ("(n) OVER (n)", "OVER"),
            ("'1'::decimal(99,99) = 1", "("),
            ("n::json", "json"),
            ("n::wee\u212a", "wee"),
            ("n -- comment", "--"),
            ("n /* comment */", "/*"),
            ("n; n", ";"),
            ("$$n$$", "$"),
            ("$a$n$a$", "$"),
            ("n = $1", "$"),
            ("n = ?", "?"),
            ("`n`", "`"),
            ("[n]", "["),
            ("ARRAY[1,2]", "["),
            ("{'a': 1}", "{"),
            ("n \\ n", "\\"),
            ("s = 'it's'", "s"),
            ("s = 'a' 'b'", "'b'"),
            ("s = 'a", "'"),
            ('"n', '"'),
            ('""', '"'),
            ("x'00'", "'00'"),
            ("e'a\\'", "'a"),
            ("n \x00", "\\x00"),
            ("*", "*"),
            ("n.*", "*"),
            ("n s", "s"),
            ("n AS s", "AS"),
            ("CAST(n AS s)", "s"),
            ("1_000", "1"),
            ("0x10", "0"),
            ("1.2.3", "1"),
            ("n)", ")"),
            ("(n", "the end"),
            ("()", ")"),
            ("n,", "the end"),
            ("", "the end"),
            ("  ", "the end"),
            ("__import__('os').getcwd()", "__import__"),
        ],
    )
    def test_what_is_no_expression_over_columns(self, sql: str, word: str):
        with pytest.raises(UserError) as refused:
            evaluate(FRAME, sql, "condition `where`")
        assert refused.value.thing == "condition `where`"
        assert word in refused.value.found.split(" after ")[0]

    @pytest.mark.parametrize("call", ["read_csv('{}')", "(SELECT * FROM read_csv('{}'))", "(FROM '{}')", "(TABLE '{}')"])
    def test_a_file_is_not_read(self, tmp_path: Path, call: str):
        (tmp_path / "secret.csv").write_text("secret_of_the_file\n1\n")
        for name in ("secret.csv", "none.csv"):
            for sql in (call.format(tmp_path / name), f"n IN {call.format(tmp_path / name)}"):
                with pytest.raises(UserError) as refused:
                    evaluate(FRAME, sql, "condition `where`")
                assert "secret_of" not in str(refused.value) and "no such file" not in str(refused.value).lower()

    def test_the_nearest_name_is_told(self):
        for sql, hint in (("LOWR(s) = 'a'", "Did you mean 'lower'?"), ("n::flot", "'float'"), ("s lik 'a'", "'like'")):
            with pytest.raises(UserError, match=hint):
                evaluate(FRAME, sql, "condition")

    @pytest.mark.parametrize(
        ("sql", "most"),
        [
            ("n = 1" + " " * LONGEST + "+ 1", LONGEST),
            ("-".join(["n"] * MOST_WORDS), MOST_WORDS),
            ("+".join(["n"] * (MOST_SUMS + 2)), MOST_SUMS),
            ("(" * (DEEPEST + 1) + "n" + ")" * (DEEPEST + 1), DEEPEST),
        ],
    )
    def test_what_is_too_much(self, sql: str, most: int):
        with pytest.raises(UserError, match=f"expected an expression of at most {most:,} "):
            evaluate(FRAME, sql, "condition")

    @pytest.mark.parametrize("joint", [" AND ", " OR ", "-", "/", " = "])
    def test_the_longest_that_pass_are_computed(self, joint: str):
        assert len(evaluate(FRAME, joint.join(["yes" if "D" in joint or "R" in joint else "n"] * (MOST_WORDS // 2)), "it")) == 3

    @pytest.mark.parametrize("prefix", ["NOT ", "- ", "CASE WHEN yes THEN ", "CASE "])
    def test_many_words_before_a_value_end_in_an_error(self, prefix: str):
        with pytest.raises(UserError):
            evaluate(FRAME, prefix * 100 + "n" + " END" * 100, "condition")

    @pytest.mark.parametrize("sql", ["1 // NULL", "CAST(9223372036854775807 AS timestamp) IS NOT FALSE"])
    def test_where_polars_panics_it_is_an_error_as_any(self, sql: str):
        with pytest.raises(UserError, match="polars cannot compute it"):
            evaluate(FRAME, sql, "condition")

    def test_a_constant_that_python_cannot_tell_is_one(self):
        assert evaluate(FRAME, "(9223372036854775807)::datetime", "it").dtype == pl.Datetime


class TestAllowed:
    @pytest.mark.parametrize(
        ("sql", "values"),
        [
            ("n", [1, 2, 3]),
            (' "n" ', [1, 2, 3]),
            ("like", [1, 0, 1]),
            ("end", [4, 5, 6]),
            ('"select"', [7, 8, 9]),
            ("größe", [1, 2, 3]),
            ("of.at", [1, 2, 3]),
            ("n >= 2", [False, True, True]),
            ("n % 2 = 0 AND NOT yes", [False, True, False]),
            ("-n * 2 + 1 - -1", [0, -2, -4]),
            ("n // 2", [0, 1, 1]),
            ("2 * x / 4", [0.75, -1.25, 0.125]),
            ("x > 1e0", [True, False, False]),
            ("x > .5 OR n = 3.", [True, False, True]),
            ("n <> 1", [False, True, True]),
            ("n & 1 = 1", [True, False, True]),
            ("n IN (1, 3)", [True, False, True]),
            ("n NOT IN (1, 3)", [False, True, False]),
            ("s IN ('ab')", [True, False, None]),
            ("n BETWEEN 1 AND 2", [True, True, False]),
            ("n NOT BETWEEN 1 AND 2", [False, False, True]),
            ("s LIKE 'a%'", [True, False, None]),
            ("s NOT ILIKE 'C_'", [True, False, None]),
            ("s IS NULL", [False, False, True]),
            ("s IS NOT NULL", [True, True, False]),
            ("yes IS NOT TRUE", [False, True, None]),
            ("s IS NOT DISTINCT FROM NULL", [False, False, True]),
            ("s = 'it''s'", [False, False, None]),
            ("s <> '\\' AND s <> '--;$$ SELECT /*'", [True, True, None]),
            ("CASE WHEN n >= 2 THEN tags END", [None, ["b", "c"], None]),
            ("CASE n WHEN 1 THEN 2 ELSE 3 END", [2, 3, 3]),
            ("CASE WHEN CAST((yes) AS BOOLEAN) = FALSE THEN FALSE ELSE CAST((n) AS BOOLEAN) END", [True, False, True]),
            ("n::varchar = '1'", [True, False, False]),
            ("CAST(n AS double)", [1.0, 2.0, 3.0]),
            ("TRY_CAST(s AS int) IS NULL", [True, True, True]),
            ("day >= date '2021-01-01'", [False, True, None]),
            ("day - interval '1 day' < date '2020-01-01'", [True, False, None]),
            ("clock > TIMESTAMP '2020-01-01 06:00:00'", [False, True, None]),
            ("EXTRACT(year FROM day) = 2020", [True, False, None]),
            ("DATE_PART('year', day)", [2020, 2021, None]),
            ("YEAR(day) + month(clock)", [2021, 2026, None]),
            ("DATE('2020-01-01') = day", [True, False, None]),
            ("ln(1 + n) > 1", [False, True, True]),
            ("coalesce(s, 'none')", ["ab", "Cd", "none"]),
            ("IFNULL(NULLIF(n, 1), 9)", [9, 2, 3]),
            ("GREATEST(n, 2) - LEAST(n, 2)", [1, 0, 1]),
            ("round(abs(x), 1)", [1.5, 2.5, 0.2]),
            ("MOD(n, 2)", [1, 0, 1]),
            ("IF(n > 1, 'b', 'a')", ["a", "b", "b"]),
            ("LENGTH(s) + CHAR_LENGTH(TRIM(s))", [4, 4, None]),
            ("lower(s) = 'cd' OR UPPER(LEFT(s, 1)) = 'A'", [True, True, None]),
            ("STARTS_WITH(s, 'a') OR ends_with(s, 'd')", [True, True, None]),
            ("SUBSTR(s, 2) = 'b'", [True, False, None]),
            ("STRPOS(s, 'b') > 0 OR POSITION('b' IN s) > 0", [True, False, False]),
            ("ARRAY_CONTAINS(tags, 'b')", [False, True, None]),
            ("array_length(tags) = 1", [True, False, None]),
            ("ARRAY_GET(tags, 1)", ["a", "b", None]),
            ("PI() > n", [True, True, True]),
            ("true", [True, True, True]),
            ("n = 1\n AND\t s = 'ab'", [True, False, False]),
        ],
    )
    def test_values(self, sql: str, values: list):
        result = evaluate(FRAME, sql, "expression").to_list()
        assert result == (pytest.approx(values) if isinstance(values[0], float) else values)

    @pytest.mark.parametrize("sql", ["n", "n + 1 >= 2", "s LIKE 'a%'", "CASE WHEN yes THEN n END", "CAST(n AS VARCHAR)", "- n"])
    def test_what_is_read_means_what_was_written(self, sql: str):
        assert read_sql(sql, "it") != sql or '"' not in sql
        assert FRAME.select(pl.sql_expr(sql).alias("it"))["it"].to_list() == evaluate(FRAME, sql, "it").to_list()

    def test_columns_that_are_read(self):
        assert columns_of("lower(s) = 'n' AND \"like\" IN (n, 1)", "it") == ("s", "like", "n")

    def test_every_function_and_type_is_one_of_polars(self):
        calls = {"cast": "CAST(n AS int)", "try_cast": "TRY_CAST(n AS int)", "extract": "EXTRACT(year FROM day)"}
        calls["position"] = "POSITION('a' IN s)"
        for name in FUNCTIONS:
            arguments = ("", "n", "n, 1", "s, 'a'", "s, '%Y'", "yes, 1, 2", "'year', day")
            assert any(_is_known(calls.get(name, f"{name}({argument})")) for argument in arguments), name
        for name in TYPES:
            assert _is_known(f"n::{name}"), name


def _is_known(sql: str) -> bool:
    try:
        columns_of(sql, "it")
    except UserError:
        return False
    return True


class TestConditions:
    def test_null_does_not_meet_it_and_numbers_do_unless_0(self):
        for sql in ("yes", "CASE WHEN n = 1 THEN 2 WHEN n = 2 THEN 0 END"):
            assert meets(FRAME, sql, "condition").to_list() == [True, False, False]
        assert meets(FRAME, "null", "condition").to_list() == [False] * 3

    @pytest.mark.parametrize("sql", ["'a'", "s", "CAST(n AS VARCHAR)", "tags", "of", "day", "interval '1 day'"])
    def test_what_is_neither_true_nor_false_is_refused(self, sql: str):
        with pytest.raises(UserError, match="expected a condition, true or false, found values of type"):
            meets(FRAME, sql, "condition")


WORDS = """
    n s x yes tags day of "n" 'a' '%' 1 0.5 1e99 ( ) , = + - * / // % < <=> & | . :: int NOT AND OR IS NULL IN BETWEEN LIKE CASE
    WHEN THEN ELSE END CAST( AS EXTRACT( year FROM DISTINCT interval date XOR $$ --
"""
CALLS = [*WORDS.split(), *(f"{name}(" for name in sorted(FUNCTIONS))]


class TestAnyText:
    @settings(max_examples=300)
    @given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(CALLS), max_size=12).map(" ".join)))
    def test_is_refused_or_computed(self, sql: str):
        try:
            assert len(evaluate(FRAME, sql, "expression")) == FRAME.height
        except UserError:
            return
