"""SQL expressions over columns, and the check that columns are there."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
from polars.exceptions import PolarsError

from polyrec.core.errors import UserError, nearest
from polyrec.data.wide import WideTable


def parse(sql: str, thing: str) -> pl.Expr:
    """Parse a SQL expression with polars' SQL (never `eval`); `thing` names it in the error."""
    try:
        return pl.sql_expr(sql)
    except PolarsError as error:
        remedy = "Write a column or an expression such as 'rating >= 4'."
        raise UserError(thing, expected="a SQL expression", found=f"{sql!r} ({error})", remedy=remedy) from error


def columns_of(sql: str, thing: str) -> tuple[str, ...]:
    """Return the columns that an expression reads."""
    return tuple(dict.fromkeys(parse(sql, thing).meta.root_names()))


def evaluate(frame: pl.DataFrame, sql: str, thing: str) -> pl.Series:
    """Evaluate an expression on every row of a frame.

    Raises `UserError` where it does not parse, names an absent column, does not fit the columns' types, or gives one value
    for the whole table (an aggregate) instead of one a row. A constant, such as `true` where every row is a meeting, is the
    value of every row.
    """
    expression = parse(sql, thing)
    require_columns(frame, expression.meta.root_names(), thing)
    try:
        values = frame.select(expression.alias("value"))["value"]
    except PolarsError as error:
        remedy = "Check the columns' types and the expression."
        raise UserError(
            thing, expected="an expression that fits the table", found=f"{sql!r}: {error}", remedy=remedy
        ) from error
    if len(values) == 1 and not expression.meta.root_names():
        return pl.repeat(values[0], frame.height, dtype=values.dtype, eager=True)
    if len(values) != frame.height:
        remedy = "Leave out aggregates such as SUM and COUNT."
        raise UserError(thing, expected="one value a row", found=f"{len(values)} values for {frame.height} rows", remedy=remedy)
    return values


def require_columns(frame: WideTable, columns: Iterable[str], thing: str) -> None:
    """Raise `UserError` for the first column that the frame lacks."""
    for column in columns:
        if column not in frame.columns:
            expected = f"a column {column!r}"
            raise UserError(thing, expected=expected, found="no such column", remedy=nearest(column, frame.columns))
