"""Values of events, each read by itself."""

import datetime as dt
from typing import Any

import polars as pl
import pytest

from polyrec.serve.versions.event_values import read_values


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([5.0, "4", None, True], pl.Int64(), [5, 4, None, 1]),
        ([5.0, "4.5", None], pl.Float64(), [5.0, 4.5, None]),
        ([4.7, 4.0, -0.5], pl.Int64(), [None, 4, None]),
        ([300.0, 5.0], pl.Int8(), [None, 5]),
        (["yes", True, None], pl.Boolean(), [None, True, None]),
        (["a", 5.0], pl.String(), ["a", "5.0"]),
        (["q", "z", 1.0], pl.Enum(["q"]), ["q", None, None]),
        (["2024-01-31", "soon", 5.0], pl.Date(), [dt.date(2024, 1, 31), None, None]),
        (["2024-01-31T05:00:00", "2024-01-31"], pl.Datetime("us"), [dt.datetime(2024, 1, 31, 5), dt.datetime(2024, 1, 31)]),
        (["PT1M"], pl.Duration("us"), [dt.timedelta(minutes=1)]),
        (["a", 1.0], pl.List(pl.String()), [None, None]),
        (["a"], pl.Struct({"a": pl.Int64}), [None]),
        ([None], pl.Int64(), [None]),
    ],
)
def test_what_fits_is_there_and_what_does_not_is_null(values: list[Any], kind: pl.DataType, expected: list[Any]):
    column = read_values("v", values, kind)
    assert (column.name, column.dtype, column.to_list()) == ("v", kind, expected)


def test_one_text_among_many_numbers_costs_none_of_them():
    column = read_values("v", [5.0] * 50 + ["4"], pl.Int64())
    assert column.to_list() == [5] * 50 + [4]
