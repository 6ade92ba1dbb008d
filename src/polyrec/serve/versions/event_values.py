"""Values of events as columns of the training table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from polyrec.data.json_columns import read_column


def read_values(name: str, values: Sequence[float | bool | str | None], kind: pl.DataType) -> pl.Series:
    """Return values as a column. Each is converted independently of the types of the others; one that does not fit is null.

    A number with a fraction does not fit an integer column. No value fits a column of lists or objects. A time is text in ISO
    8601.
    """
    if kind.is_nested():
        return pl.Series(name, [None] * len(values), dtype=kind)
    parts = [
        _of_one_type(name, values, value_type, kind)
        for value_type in dict.fromkeys(type(value) for value in values if value is not None)
    ]
    if len(parts) < 2:
        return parts[0] if parts else pl.Series(name, [None] * len(values), dtype=kind)
    return pl.select(pl.coalesce(parts).alias(name)).to_series()


def _of_one_type(name: str, values: Sequence[Any], value_type: type, kind: pl.DataType) -> pl.Series:
    same_typed = [value if type(value) is value_type else None for value in values]
    if kind.is_temporal():
        return pl.Series(name, [_time(value, kind) for value in same_typed], dtype=kind)
    read = pl.Series(name, same_typed)
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
