"""Intervals, p values and Holm's correction against SciPy and the textbook."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from polyrec.compare.statistics import estimate, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=2, max_size=8))
def test_with_many_users_and_no_test_error_it_is_the_paired_t_test(differences: list[float]):
    result = estimate(np.array(differences), 0.0, 10**6)
    if np.std(differences) < 1e-9:
        return
    expected = stats.ttest_1samp(differences, 0.0)
    low, high = expected.confidence_interval(0.95)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert (result.low, result.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)


def test_two_sources_of_error_add_up_as_in_welchs_test():
    """Welch's test of two samples has the same two terms: one for each sample."""
    first, second = np.array([1.0, 2.0, 4.0, 5.5]), np.array([0.5, 0.6, 0.9, 1.3, 0.2, 0.7])
    expected = stats.ttest_ind(first, second, equal_var=False)
    error = np.std(second, ddof=1) / math.sqrt(len(second))
    result = estimate(first - second.mean(), float(error), len(second))
    assert result.p == pytest.approx(expected.pvalue)
    assert result.degrees == pytest.approx(expected.df)
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_one_seed_leaves_the_users_alone():
    result = estimate(np.array([0.2]), 0.1, 31)
    assert math.isnan(result.seed_error)
    assert result.degrees == 30
    assert result.high == pytest.approx(0.2 + 0.1 * stats.t.ppf(0.975, 30))


@given(error=st.floats(0.01, 1), seeds=st.integers(2, 6))
def test_the_interval_excludes_zero_where_p_is_below_five_percent(error: float, seeds: int):
    result = estimate(np.linspace(0.1, 0.4, seeds), error, 50)
    assert (result.low > 0 or result.high < 0) == (result.p < 0.05)


def test_what_is_equal_everywhere_is_no_difference():
    result = estimate(np.zeros(3), 0.0, 100)
    assert (result.low, result.high, result.p) == (0, 0, 1)
    assert estimate(np.full(3, 0.5), 0.0, 100).p == 0


@pytest.mark.parametrize("differences", [[math.nan, 1.0], []])
def test_what_is_undefined_stays_so(differences: list[float]):
    result = estimate(np.array(differences), 0.1, 100)
    assert math.isnan(result.mean)
    assert math.isnan(result.p)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, math.nan]) == pytest.approx([0.03, 0.06, 0.06, math.nan], nan_ok=True)


@given(p_values)
def test_holm_lies_between_no_correction_and_bonferronis(given: list[float]):
    adjusted = holm(given)
    for p, holms in zip(given, adjusted, strict=True):
        assert p <= holms <= min(1, len(given) * p) or holms == pytest.approx(min(1, len(given) * p))


@given(p_values)
def test_holm_rejects_what_its_steps_reject(given: list[float]):
    """The step-down procedure as Holm wrote it: go on while p(k) <= 0.05 / (n - k + 1)."""
    rejected = set()
    for rank, (p, place) in enumerate(sorted((p, place) for place, p in enumerate(given))):
        if p > 0.05 / (len(given) - rank):
            break
        rejected.add(place)
    close = any(math.isclose(p * left, 0.05, rel_tol=1e-9) for p in given for left in range(1, len(given) + 1))
    if not close:
        assert {place for place, p in enumerate(holm(given)) if p <= 0.05} == rejected
