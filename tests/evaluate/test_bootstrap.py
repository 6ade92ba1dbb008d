"""Intervals cover what they should, and users are drawn whole."""

import numpy as np
import pytest

from polyrec.evaluate.bootstrap import interval, mean_interval, multiplicities, paired_interval
from polyrec.evaluate.metrics import METRICS
from polyrec.evaluate.observed import Observed


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
        for name, own in (("users", observed), ("rows", Observed(observed.prediction, observed.target))):
            low, high = interval(mean, own, 200, seed)
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


def test_of_one_value_a_user():
    low, high = mean_interval(np.random.default_rng(0).normal(size=400), 300, seed=0)
    assert low < 0.05
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)
