"""Clustered standard errors against the textbook formula, and against the spread of repeated samples."""

import numpy as np
import pytest
from scipy import stats

from polyrec.evaluate.off_policy.intervals import normal_interval, standard_error


def test_one_request_a_user_is_the_usual_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    assert standard_error(values - values.mean(), np.arange(50)) == pytest.approx(stats.sem(values))
    low, high = normal_interval(values.mean(), values - values.mean(), np.arange(50))
    np.testing.assert_allclose((low, high), stats.norm.interval(0.95, values.mean(), stats.sem(values)))


def test_copies_of_a_request_under_one_user_tell_nothing_new():
    values = np.random.default_rng(1).normal(size=40)
    single = standard_error(values - values.mean(), np.arange(40))
    twice = np.repeat(values, 3)
    assert standard_error(twice - twice.mean(), np.repeat(np.arange(40), 3)) == pytest.approx(single)


def test_it_is_the_deviation_of_the_mean_over_samples_of_unequal_users():
    generator = np.random.default_rng(2)
    means, errors = [], []
    for _ in range(300):
        sizes = generator.integers(1, 6, size=60)
        cluster = np.repeat(np.arange(60), sizes)
        values = generator.normal(size=60)[cluster] + 0.3 * generator.normal(size=len(cluster))
        means.append(values.mean())
        errors.append(standard_error(values - values.mean(), cluster))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.12)
