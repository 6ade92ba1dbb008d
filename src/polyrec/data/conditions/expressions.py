"""SQL expressions over columns, and the check that columns exist."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
from polars.exceptions import PanicException, PolarsError

from polyrec.core.errors import UserError, nearest
from polyrec.data.conditions.reading_sql import read_sql
from polyrec.data.read.wide import WideTable

_FAILURES = (PolarsError, PanicException)
"""What polars raises; its panics do not derive from `Exception`."""


def parse(sql: str, thing: str) -> pl.Expr:
    """Parse a SQL expression (never `eval`); `thing` names it in errors.

    `read_sql` checks it first: it only computes over columns, reads no file, and its values cannot grow without bound.
    """
    text = read_sql(sql, thing)
    try:
        return pl.sql_expr(text)
    except _FAILURES as error:
        remedy = "Write a column or an expression such as 'rating >= 4'."
        raise UserError(thing, expected="a SQL expression", found=_failure(sql, error), remedy=remedy) from error


def columns_of(sql: str, thing: str) -> tuple[str, ...]:
    """Return the columns that an expression reads."""
    return tuple(dict.fromkeys(parse(sql, thing).meta.root_names()))


def evaluate(frame: pl.DataFrame, sql: str, thing: str) -> pl.Series:
    """Evaluate an expression on every row of a frame.

    Raises `UserError` if it does not parse, names an absent column, or does not fit the types of its columns. A constant, such
    as `true` if every row is an interaction, is the value of every row.
    """
    expression = parse(sql, thing)
    require_columns(frame, expression.meta.root_names(), thing)
    try:
        values = frame.select(expression.alias("value"))["value"]
    except _FAILURES as error:
        remedy = "Check the expression and the types of its columns."
        found = _failure(sql, error)
        raise UserError(
            thing, expected="an expression that fits the types of its columns", found=found, remedy=remedy
        ) from error
    if len(values) == 1 and not expression.meta.root_names():
        return values.new_from_index(0, frame.height)
    if len(values) != frame.height:
        remedy = "Remove the parts that aggregate rows."
        found = f"{len(values)} values for {frame.height} rows"
        raise UserError(thing, expected="one value per row", found=found, remedy=remedy)
    return values


def meets(frame: pl.DataFrame, sql: str, thing: str) -> pl.Series:
    """Return whether each row of a frame satisfies a condition; null counts as false.

    A number is true unless it is 0. Raises `UserError` as `evaluate` does, and for values that are neither boolean nor numeric.
    """
    values = evaluate(frame, sql, thing)
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        remedy = "Compare it with a value, such as 'rating >= 4'."
        raise UserError(thing, expected="a condition, true or false", found=f"values of type {values.dtype}", remedy=remedy)
    return values.cast(pl.Boolean).fill_null(False)


def require_columns(frame: WideTable, columns: Iterable[str], thing: str) -> None:
    """Raise `UserError` for the first of the columns that the frame lacks."""
    for column in columns:
        if column not in frame.columns:
            expected = f"a column {column!r}"
            raise UserError(thing, expected=expected, found="no such column", remedy=nearest(column, frame.columns))


def _failure(sql: str, error: BaseException) -> str:
    """Return an expression and why it fails: the first line of polars' error, or a fixed sentence after a panic."""
    has_message = isinstance(error, PolarsError)
    reason = str(error).partition("\n")[0].partition(" at Line")[0] if has_message else "polars cannot compute it"
    return f"{sql!r:.200} ({reason:.300})"
