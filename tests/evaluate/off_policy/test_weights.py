"""Importance weights and their diagnostics, computed by hand."""

import math

import numpy as np
import pytest

from polyrec.evaluate.off_policy.lists import Lists
from polyrec.evaluate.off_policy.weights import effective_size, importance, top_share

# Two lists, the second of one item.
LISTS = Lists(
    reward_JK=np.array([[1.0, 0.0], [1.0, 0.0]]),
    logged_JK=np.array([[0.5, 0.25], [0.2, 1.0]]),
    target_JK=np.array([[0.25, 1.0], [1.0, 1.0]]),
    exists_JK=np.array([[True, True], [True, False]]),
    cluster_J=np.array([0, 1]),
)


@pytest.mark.parametrize(
    ("interaction", "weight", "before"),
    [
        ("cascade", [[0.5, 2.0], [5.0, 0.0]], [[1.0, 0.5], [1.0, 0.0]]),
        ("independent", [[0.5, 4.0], [5.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]),
        ("list", [[2.0, 2.0], [5.0, 0.0]], [[1.0, 0.5], [1.0, 0.0]]),
    ],
)
def test_products_of_ratios_by_interaction(interaction, weight, before):
    weights = importance(LISTS, interaction)
    np.testing.assert_allclose(weights.weight_JK, weight)
    np.testing.assert_allclose(weights.before_JK, before)
    assert not weights.clipped_JK.any()


def test_a_bound_is_kept_and_told():
    weights = importance(LISTS, "cascade", clip=2.0)
    np.testing.assert_allclose(weights.weight_JK, [[0.5, 2.0], [2.0, 0.0]])
    assert weights.clipped_JK.tolist() == [[False, False], [True, False]]


def test_effective_size():
    assert effective_size(np.ones(7)) == pytest.approx(7)
    assert effective_size(np.array([5.0, 0, 0])) == pytest.approx(1)
    assert effective_size(np.array([1.0, 3.0])) == pytest.approx(16 / 10)
    assert effective_size(np.zeros(3)) == 0


def test_the_top_hundredth_is_one_weight_at_least():
    assert top_share(np.array([1.0, 3.0])) == pytest.approx(0.75)
    weights = np.r_[np.full(198, 1.0), 50.0, 52.0]
    assert top_share(np.random.default_rng(0).permutation(weights)) == pytest.approx(102 / 300)
    assert math.isnan(top_share(np.zeros(3)))
