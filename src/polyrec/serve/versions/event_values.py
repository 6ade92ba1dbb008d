"""Values of events as columns of the training table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from polyrec.data.json_columns import read_column


def read_values(name: str, values: Sequence[float | bool | str | None], kind: pl.DataType) -> pl.Series:
    """Return values as a column, each read by itself, whatever the types of the others are; one that does not fit is null.

    A number with a fraction does not fit a column of whole numbers, no value fits a column of lists or objects, and a time is
    text of ISO 8601.
    """
    if kind.is_nested():
        return pl.Series(name, [None] * len(values), dtype=kind)
    parts = [_of_one_type(name, values, own, kind) for own in dict.fromkeys(type(own) for own in values if own is not None)]
    if len(parts) < 2:
        return parts[0] if parts else pl.Series(name, [None] * len(values), dtype=kind)
    return pl.select(pl.coalesce(parts).alias(name)).to_series()


def _of_one_type(name: str, values: Sequence[Any], own: type, kind: pl.DataType) -> pl.Series:
    told = [value if type(value) is own else None for value in values]
    if kind.is_temporal():
        return pl.Series(name, [_time(value, kind) for value in told], dtype=kind)
    read = pl.Series(name, told)
    if kind.is_integer() and read.dtype.is_float():
        read = read.set(read != read.round(), None)
    try:
        return read.cast(kind, strict=False)
    except pl.exceptions.PolarsError:
        return pl.Series(name, [None] * len(values), dtype=kind)


def _time(value: Any, kind: pl.DataType) -> Any:
    try:
        return read_column("", [value], kind).to_physical()[0]
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        return None
