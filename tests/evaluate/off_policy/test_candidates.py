"""Candidates are joined to their ranks, and refused if they are incomplete."""

import polars as pl
import pytest

from polyrec import UserError
from polyrec.evaluate.off_policy.candidates import read_candidates
from polyrec.evaluate.off_policy.log import LogColumns, read_log

LOG = pl.DataFrame({"request": [1, 1, 2], "item": [7, 8, 9], "position": [1, 2, 1], "propensity": [0.5, 1.0, 0.5], "click": 1})
CANDIDATES = pl.DataFrame(
    {
        "request": [1, 1, 1, 2, 2],
        "position": [1, 1, 2, 1, 1],
        "item": [7, 8, 8, 7, 8],
        "probability": [0.25, 0.75, 1.0, 0.5, 0.5],
        "gain": [4.0, 8.0, 2.0, 1.0, 3.0],
    }
)


def read(candidates: pl.DataFrame, log: pl.DataFrame = LOG):
    return read_candidates(candidates, read_log(log, LogColumns(), "click", None), LogColumns())


def test_an_item_shown_finds_its_candidate_and_one_that_is_none_has_nulls():
    assert read(CANDIDATES).shown["probability"].to_list() == [0.25, 1.0, None]
    assert read(CANDIDATES).shown["is_candidate"].to_list() == [True, True, None]


def test_the_expected_value_is_by_the_targets_probabilities():
    candidates = read(CANDIDATES)
    rows = read_log(LOG, LogColumns(), "click", None)
    assert candidates.expected(rows, candidates.rows["gain"]).to_list() == [0.25 * 4 + 0.75 * 8, 2.0, 2.0]


def test_what_the_log_cannot_show_is_told_where_its_own_propensities_are():
    assert read(CANDIDATES).unsupported is None
    known = CANDIDATES.with_columns(propensity=pl.Series([1.0, 0.0, 1.0, 1.0, None]))
    assert read(known).unsupported == pytest.approx((0.75 + 0 + 0.5) / 3)


def test_lists_of_one_item_need_no_position():
    log = LOG.filter(pl.col("position") == 1).drop("position")
    shown = read(CANDIDATES.filter(pl.col("position") == 1).drop("position"), log).shown
    assert shown["probability"].to_list() == [0.25, None]


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (CANDIDATES.filter(pl.col("request") == 1), "none, at 1 of 3 ranks"),
        (CANDIDATES.with_columns(pl.col("probability") / 2), "sum to 1, found other sums, or none, at 3 of 3"),
        (CANDIDATES.with_columns(probability=-pl.col("probability")), "expected probabilities from 0 to 1"),
        (pl.concat([CANDIDATES, CANDIDATES.head(1)]), "expected each item once at a rank"),
        (CANDIDATES.drop("position"), "expected a column 'position'"),
    ],
)
def test_what_says_too_little_is_refused(candidates: pl.DataFrame, message: str):
    with pytest.raises(UserError, match=message):
        read(candidates)
