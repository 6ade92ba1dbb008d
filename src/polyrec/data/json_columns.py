"""Columns as JSON values, and back: times and durations as ISO 8601 text, decimals as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

_DURATION = re.compile(r"(-?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?)?")
_NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000}


def can_be_told(kind: pl.DataType) -> bool:
    """Return whether JSON can represent values of a type: all but bytes and objects, also when nested."""
    return not any(leaf in (pl.Binary, pl.Object) for leaf in _leaves(kind))


def tell_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON values, which `read_column` reads back; NaN and infinity become null."""
    rows: list[dict[str, Any]] = json.loads(frame.write_json()) if frame.height else []
    return rows


def read_column(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    """Return JSON values as a column.

    Raises `TypeError`, `ValueError`, `OverflowError` or an error of polars for a value that does not fit and for a type that
    JSON cannot represent.
    """
    if not can_be_told(kind):
        raise TypeError(f"values of type {kind}, which JSON cannot represent")
    if any(leaf.is_temporal() or leaf.is_decimal() for leaf in _leaves(kind)):
        values = [_read(value, kind) for value in values]
    return pl.Series(name, values, dtype=kind)


def _leaves(kind: pl.DataType) -> Iterator[pl.DataType]:
    """Yield the types of the scalar values nested in a type."""
    if isinstance(kind, pl.Struct):
        for field in kind.fields:
            yield from _leaves(_instance(field.dtype))
    elif isinstance(kind, pl.List | pl.Array):
        yield from _leaves(_instance(kind.inner))
    else:
        yield kind


def _instance(kind: Any) -> pl.DataType:
    instance: pl.DataType = kind() if isinstance(kind, type) else kind
    return instance


def _read(value: Any, kind: pl.DataType) -> Any:
    """Return a value with its times, dates and durations as the numbers that polars stores for them."""
    if value is None:
        return None
    if isinstance(kind, pl.List | pl.Array):
        if not isinstance(value, list):
            raise TypeError(f"{value!r:.80}, not a list")
        return [_read(element, _instance(kind.inner)) for element in value]
    if isinstance(kind, pl.Struct):
        if not isinstance(value, dict):
            raise TypeError(f"{value!r:.80}, not an object")
        return {field.name: _read(value.get(field.name), _instance(field.dtype)) for field in kind.fields}
    if kind.is_decimal() and not isinstance(value, bool):
        return pl.Series([value], dtype=kind)[0]
    if not kind.is_temporal():
        return value
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80}, not ISO 8601 text")
    if isinstance(kind, pl.Duration):
        return _duration(value, kind.time_unit)
    parsed = pl.Series([value], dtype=kind)
    if parsed.dtype != kind:
        raise ValueError(f"{value!r:.80}, a time with a zone")
    return parsed.to_physical()[0]


def _duration(text: str, unit: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()[1:]):
        raise ValueError(f"{text!r:.80}, not a duration such as P1DT2H or PT0.5S")
    sign, days, hours, minutes, seconds, decimals = (part or "" for part in match.groups())
    total_seconds = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    count = (total_seconds * 1_000_000_000 + int(decimals.ljust(9, "0"))) // _NANOSECONDS[unit]
    return -count if sign else count
