"""Times become comparable numbers; times that cannot be compared are refused."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from polyrec import UserError
from polyrec.data.times import read_times

NOON = datetime(2026, 1, 1, 12)


@pytest.mark.parametrize(
    ("series", "clock"),
    [
        (pl.Series("t", [1, 2]), "number"),
        (pl.Series("t", [1.0, 2.0]), "number"),
        (pl.Series("t", [date(2026, 1, 1), date(2026, 1, 2)]), "naive"),
        (pl.Series("t", [NOON, NOON.replace(hour=13)]), "naive"),
        (pl.Series("t", [NOON, NOON.replace(hour=13)]).dt.replace_time_zone("Europe/Berlin"), "zoned"),
        (pl.Series("t", ["2026-01-01T12:00:00", "2026-01-01T13:00:00"]), "naive"),
        (pl.Series("t", ["2026-01-01T12:00:00+01:00", "2026-01-01T12:00:00Z"]), "zoned"),
    ],
)
def test_order_is_kept_and_the_clock_is_told(series: pl.Series, clock: str):
    values, column_clock = read_times(series)
    assert column_clock == clock
    assert values[0] < values[1]
    assert values.dtype == pl.Int64


def test_zones_are_read_as_the_instants_they_mean():
    berlin = pl.Series("t", ["2026-01-01T13:00:00+01:00"])
    utc = pl.Series("t", [datetime(2026, 1, 1, 12, tzinfo=UTC)])
    assert read_times(berlin)[0].to_list() == read_times(utc)[0].to_list()


@pytest.mark.parametrize(
    ("series", "expected", "found"),
    [
        (
            pl.Series("t", ["2026-01-01T12:00:00+01:00", "2026-01-01T12:00:00"]),
            "all have a zone, or all have none",
            "1 values with",
        ),
        (pl.Series("t", ["yesterday"]), "ISO 8601", "do not parse"),
        (pl.Series("t", [1, None]), "a time in every row", "null in 1 rows"),
        (pl.Series("t", [1.0, float("nan")]), "finite times", "NaN or infinity"),
        (pl.Series("t", [[1]]), "numbers, dates or times", "List"),
    ],
)
def test_what_is_no_time_is_refused(series: pl.Series, expected: str, found: str):
    with pytest.raises(UserError, match=f"time column 't': expected .*{expected}.*found .*{found}"):
        read_times(series)


def test_another_clock_than_in_training_is_refused():
    with pytest.raises(UserError, match="expected times without a time zone, as in training, found times with a time zone"):
        read_times(pl.Series("t", [datetime(2026, 1, 1, tzinfo=UTC)]), "naive")


def test_fractions_of_a_second_are_kept():
    assert read_times(pl.Series("t", [1.25, 1.5]))[0].to_list() == [1.25, 1.5]


def test_numbers_beyond_64_bits_are_compared_all_the_same():
    assert read_times(pl.Series("t", [-2.5e89, 0.0, 2.0**63]))[0].to_list() == [-2.5e89, 0.0, 2.0**63]
