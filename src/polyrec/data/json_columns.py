"""Columns as JSON tells them, and read back: times and durations as text of ISO 8601, decimals as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

_DURATION = re.compile(r"(-?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?)?")
_NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000}


def can_be_told(kind: pl.DataType) -> bool:
    """Return whether JSON can tell values of a type: all but bytes and objects, alone or within."""
    return not any(leaf in (pl.Binary, pl.Object) for leaf in _leaves(kind))


def tell_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as values of JSON, which `read_column` reads back. Of the numbers NaN and infinity become null."""
    rows: list[dict[str, Any]] = json.loads(frame.write_json()) if frame.height else []
    return rows


def read_column(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    """Return values of JSON as a column.

    Raises `TypeError`, `ValueError`, `OverflowError` or polars' own error for a value that does not fit and for a type that
    JSON cannot tell.
    """
    if not can_be_told(kind):
        raise TypeError(f"values of type {kind}, which JSON cannot tell")
    if any(leaf.is_temporal() or leaf.is_decimal() for leaf in _leaves(kind)):
        values = [_read(value, kind) for value in values]
    return pl.Series(name, values, dtype=kind)


def _leaves(kind: pl.DataType) -> Iterator[pl.DataType]:
    """Yield the types of the values that lie in values of a type."""
    if isinstance(kind, pl.Struct):
        for field in kind.fields:
            yield from _leaves(_instance(field.dtype))
    elif isinstance(kind, pl.List | pl.Array):
        yield from _leaves(_instance(kind.inner))
    else:
        yield kind


def _instance(kind: Any) -> pl.DataType:
    found: pl.DataType = kind() if isinstance(kind, type) else kind
    return found


def _read(value: Any, kind: pl.DataType) -> Any:
    """Return a value with its times, dates and durations as the numbers that polars keeps of them."""
    if value is None:
        return None
    if isinstance(kind, pl.List | pl.Array):
        if not isinstance(value, list):
            raise TypeError(f"{value!r:.80}, no list")
        return [_read(one, _instance(kind.inner)) for one in value]
    if isinstance(kind, pl.Struct):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r:.80}, no object")
        return {field.name: _read(value.get(field.name), _instance(field.dtype)) for field in kind.fields}
    if kind.is_decimal() and not isinstance(value, bool):
        return pl.Series([value], dtype=kind)[0]
    if not kind.is_temporal():
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80}, no text of ISO 8601")
    if isinstance(kind, pl.Duration):
        return _duration(value, kind.time_unit)
    read = pl.Series([value], dtype=kind)
    if read.dtype != kind:
        raise ValueError(f"{value!r:.80}, a time with a zone")
    return read.to_physical()[0]


def _duration(text: str, unit: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()[1:]):
        raise ValueError(f"{text!r:.80}, no duration such as P1DT2H or PT0.5S")
    sign, days, hours, minutes, seconds, rest = (part or "" for part in found.groups())
    whole = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    count = (whole * 1_000_000_000 + int(rest.ljust(9, "0"))) // _NANOSECONDS[unit]
    return -count if sign else count
