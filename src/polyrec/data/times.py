"""Times as comparable numbers: epoch numbers unchanged, dates and times as microseconds."""

from __future__ import annotations

import polars as pl
from polars.exceptions import PolarsError

from polyrec.core.errors import UserError

NUMBER, NAIVE, ZONED = "number", "naive", "zoned"
"""The three clocks, which must not be mixed: a number, a time without a zone, a time with a zone (read as UTC)."""

_LARGEST = 2.0**63
"""Whole numbers of this magnitude or more do not fit into 64 bits: they are compared as floats."""

_OFFSET = r"(Z|[+-]\d{2}:?\d{2})$"


def read_times(series: pl.Series, clock: str | None = None) -> tuple[pl.Series, str]:
    """Return a column of times as numbers, and its clock: `number`, `naive` or `zoned`.

    Raises `UserError` for nulls, NaN, and strings of which only some have a zone. If `clock` is given, such as that of the
    training table, it raises `UserError` for any other clock.
    """
    column_clock, values = _read(series)
    if series.null_count():
        raise _problem(series, "a time in every row", f"null in {series.null_count()} rows", "Drop or fill these rows.")
    if clock is not None and column_clock != clock:
        described = {NUMBER: "numbers", NAIVE: "times without a time zone", ZONED: "times with a time zone"}
        remedy = "Use the same kind of time in both tables (`dt.replace_time_zone` adds a zone)."
        raise _problem(series, f"{described[clock]}, as in training", described[column_clock], remedy)
    return values, column_clock


def _read(series: pl.Series) -> tuple[str, pl.Series]:
    if series.dtype == pl.String:
        series = _parse(series)
    if isinstance(series.dtype, pl.Datetime):
        zone = series.dtype.time_zone
        return (ZONED if zone else NAIVE), series.dt.epoch("us")
    if series.dtype == pl.Date:
        return NAIVE, series.cast(pl.Datetime("us")).dt.epoch("us")
    if series.dtype.is_integer():
        return NUMBER, series.cast(pl.Int64)
    if series.dtype.is_float():
        if not series.is_finite().fill_null(True).all():
            raise _problem(series, "finite times", "NaN or infinity", "Drop these rows or fix the times.")
        is_whole = ((series == series.round()) & (series.abs() < _LARGEST)).all()
        return NUMBER, series.cast(pl.Int64) if is_whole else series.cast(pl.Float64)
    raise _problem(series, "numbers, dates or times", f"the type {series.dtype}", "Declare the right column as `time`.")


def _parse(series: pl.Series) -> pl.Series:
    zoned = series.str.contains(_OFFSET).drop_nulls()
    if zoned.any() and not zoned.all():
        found = f"{int(zoned.sum())} values with a time zone and {int((~zoned).sum())} without"
        raise _problem(
            series, "times that all have a zone, or all have none", found, "Write the zone in every row, such as +00:00."
        )
    try:
        return series.str.to_datetime(time_zone="UTC") if zoned.any() else series.str.to_datetime()
    except PolarsError as error:
        found = f"strings that do not parse ({str(error).splitlines()[0]:.80})"
        raise _problem(series, "ISO 8601 times", found, "Write times as 2026-01-31T12:00:00.") from error


def _problem(series: pl.Series, expected: str, found: str, remedy: str) -> UserError:
    return UserError(f"time column {series.name!r}", expected=expected, found=found, remedy=remedy)
