"""Intervals have their nominal coverage, and all rows of a drawn user count."""

import tracemalloc

import numpy as np
import pytest

from polyrec.evaluate.bootstrap import interval, mean_interval, multiplicities, paired_interval
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed


def clustered(seed: int, users: int = 30, rows: int = 20) -> Observed:
    """Return numbers whose mean varies more between users than within."""
    generator = np.random.default_rng(seed)
    target = np.repeat(generator.normal(size=users), rows) + 0.2 * generator.normal(size=users * rows)
    return Observed(np.zeros(users * rows), target, np.repeat(np.arange(users), rows))


def mean(observed: Observed) -> float:
    return float(np.average(observed.target, weights=observed.weights))


def test_rows_of_a_user_are_drawn_together():
    for draw in multiplicities(np.array([5, 5, 9, 9, 9]), 5, 20, seed=0):
        assert draw[0] == draw[1]
        assert draw[2] == draw[3] == draw[4]
        assert draw[0] + draw[2] == 2


def test_covers_the_truth_at_about_its_level_where_rows_alone_do_not():
    hits = {"users": 0, "rows": 0}
    for seed in range(150):
        observed = clustered(seed)
        for name, sample in (("users", observed), ("rows", Observed(observed.prediction, observed.target))):
            low, high = interval(mean, sample, 200, seed)
            hits[name] += low <= 0 <= high
    assert 0.87 <= hits["users"] / 150 <= 0.99
    assert hits["rows"] / 150 < 0.5


def test_pairs_are_narrower_than_the_two_apart():
    observed = clustered(0)
    better = Observed(observed.target * 0.1, observed.target, observed.group)
    low, high = paired_interval(METRICS["rmse"], observed, better, 200, seed=0)
    assert low < high < 0
    apart = interval(METRICS["rmse"], observed, 200, 0)
    assert high - low < apart[1] - apart[0]


def test_undefined_resamples_are_left_out_and_all_undefined_is_nan():
    observed = Observed(np.array([0.1, 0.9, 0.5]), np.array([0, 1, 1]))
    low, high = interval(METRICS["auc"], observed, 100, 0)
    assert low <= high == 1.0
    assert np.isnan(interval(METRICS["auc"], observed.take(np.array([1, 2])), 10, 0)).all()


def test_many_resamples_are_not_held_at_once():
    rows, resamples = 20_000, 100
    tracemalloc.start()
    try:
        interval(mean, Observed(np.zeros(rows), np.zeros(rows)), resamples, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows * 8 * resamples / 4


def test_the_same_seed_gives_the_same_interval():
    observed = clustered(1)
    assert interval(mean, observed, 50, 3) == interval(mean, observed, 50, 3)
    assert interval(mean, observed, 50, 3) != interval(mean, observed, 50, 4)


def test_numbers_of_users_do_not_matter():
    observed = clustered(2)
    assert observed.group is not None
    renamed = Observed(observed.prediction, observed.target, observed.group * 7 + 1_000_000)
    assert interval(mean, renamed, 50, 0) == interval(mean, observed, 50, 0)


def test_clusters_make_the_interval_wider():
    observed = clustered(0)
    low, high = interval(mean, observed, 200, 0)
    row_low, row_high = interval(mean, Observed(observed.prediction, observed.target), 200, 0)
    assert high - low > 2 * (row_high - row_low)


@pytest.mark.parametrize("group", [None, np.array([], dtype=int)])
def test_no_rows_have_no_interval(group):
    empty = Observed(np.array([]), np.array([]), group)
    assert np.isnan(interval(METRICS["auc"], empty, 5, 0)).all()
    assert np.isnan(paired_interval(METRICS["auc"], empty, empty, 5, 0)).all()
    assert np.isnan(mean_interval(np.array([]), 5, 0)).all()


def test_users_without_a_value_are_left_out():
    values = np.random.default_rng(1).normal(size=50)
    with_nan = np.r_[values, np.full(20, np.nan)]
    assert mean_interval(with_nan, 50, 0) == mean_interval(values, 50, 0)


def test_of_one_value_a_user():
    low, high = mean_interval(np.random.default_rng(0).normal(size=400), 300, seed=0)
    assert low < 0.05
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)
