"""Columns of every type as JSON, and back."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from polyrec.data.json_columns import can_be_told, read_column, tell_rows

NANOSECONDS = [1577854800123456789, -5, None]
PART = pl.Struct({"c": pl.String, "d": pl.Decimal(4, 1)})
COLUMNS = {
    "integer": pl.Series([1, -(2**63), None]),
    "small": pl.Series([1, -128, None], dtype=pl.Int8),
    "unsigned": pl.Series([2**63 + 5, 0, None], dtype=pl.UInt64),
    "huge": pl.Series([2**100, 0, None], dtype=pl.Int128),
    "float": pl.Series([0.1 + 0.2, 1e300, None]),
    "single": pl.Series([0.1, -0.0, None], dtype=pl.Float32),
    "decimal": pl.Series(["1.25", "12345678901234567890.12", None]).cast(pl.Decimal(38, 2)),
    "boolean": pl.Series([True, False, None]),
    "text": pl.Series(["ü 🎬", "", None]),
    "categorical": pl.Series(["q", "r", None], dtype=pl.Categorical),
    "enum": pl.Series(["q", "r", None], dtype=pl.Enum(["q", "r"])),
    "date": pl.Series([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    "naive": pl.Series([dt.datetime(2020, 1, 1, 5, 0, 0, 123456), dt.datetime(1950, 1, 1), None]),
    "milliseconds": pl.Series([dt.datetime(2020, 1, 1, 5), None, None], dtype=pl.Datetime("ms")),
    "nanoseconds": pl.Series(NANOSECONDS).cast(pl.Datetime("ns")),
    "zoned": pl.Series([1603587600_000000, 1603591200_000000, None]).cast(pl.Datetime("us", "Europe/Berlin")),
    "duration": pl.Series([dt.timedelta(days=-3, microseconds=5), dt.timedelta(0), None]),
    "short durations": pl.Series(NANOSECONDS).cast(pl.Duration("ns")),
    "time": pl.Series([dt.time(3, 4, 5, 6), dt.time(0), None]),
    "list": pl.Series([["a", None], [], None]),
    "dates": pl.Series([[dt.date(2020, 1, 1), None], [], None]),
    "decimals": pl.Series([["1.25", None], [], None]).cast(pl.List(pl.Decimal(10, 2))),
    "array": pl.Series([[1.5, 2.5], [0.0, None], None], dtype=pl.Array(pl.Float32, 2)),
    "struct": pl.Series([{"n": 1, "at": dt.datetime(2020, 1, 1), "of": [dt.timedelta(hours=1)]}, None]),
    "structs": pl.Series([[{"c": "q", "d": Decimal("1.5")}], None], dtype=pl.List(PART)),
    "nothing": pl.Series([None, None]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_as_it_was(name: str):
    column = COLUMNS[name].alias("c")
    rows = json.loads(json.dumps(tell_rows(column.to_frame())))
    parsed = read_column("c", [row["c"] for row in rows], column.dtype)
    assert parsed.dtype == column.dtype
    assert parsed.equals(column, null_equal=True)


def test_no_rows_are_none():
    assert tell_rows(pl.DataFrame({"a": []})) == []


@pytest.mark.parametrize("kind", [pl.Binary(), pl.Object(), pl.List(pl.Binary()), pl.Struct({"a": pl.Array(pl.Binary, 1)})])
def test_bytes_and_objects_cannot_be_told(kind: pl.DataType):
    assert not can_be_told(kind)
    with pytest.raises(TypeError, match="which JSON cannot represent"):
        read_column("c", [None], kind)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("soon", pl.Date()),
        ("2024-13-01", pl.Date()),
        (5, pl.Date()),
        ("2024-01-01T00:00:00Z", pl.Datetime("us")),
        (5, pl.Duration("us")),
        ("5 days", pl.Duration("us")),
        ("PT", pl.Duration("us")),
        ("P99999999999999999999D", pl.Duration("us")),
        ("25:00", pl.Time()),
        (4.7, pl.Int64()),
        ("4", pl.Int64()),
        (300, pl.Int8()),
        (2**200, pl.Int64()),
        (1, pl.Boolean()),
        ("other", pl.Enum(["q"])),
        ("much", pl.Decimal(10, 2)),
        ("x", pl.List(pl.Date())),
        ("x", pl.Struct({"at": pl.Date()})),
        ([1, 2, 3], pl.Array(pl.Int64, 2)),
    ],
)
def test_a_value_that_does_not_fit_is_refused(value: Any, kind: pl.DataType):
    with pytest.raises((TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)):
        read_column("c", [value], kind)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("P1DT2H", 93_600), ("-PT0.5S", -0.5), ("PT1M", 60), ("P2D", 172_800)],
)
def test_durations_are_those_of_iso_8601(text: str, seconds: float):
    assert read_column("c", [text], pl.Duration("us"))[0] == dt.timedelta(seconds=seconds)
