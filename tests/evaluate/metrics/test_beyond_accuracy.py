"""Diversity, novelty and popularity of lists, against loops over users and pairs of items."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from polyrec.evaluate.metrics.beyond_accuracy import diversity, gini, novelty, popularity, popularity_lift, profile_popularity

ITEMS = 12


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lists of up to five distinct items, vectors, and how many of 20 users interacted with each item."""
    generator = np.random.default_rng(seed)
    lists = np.stack([generator.permutation(ITEMS)[:5] for _ in range(8)])
    lists[0, 3:], lists[1, 1:], lists[2] = -1, -1, -1
    return lists, generator.normal(size=(ITEMS, 3)), generator.integers(0, 21, size=ITEMS)


@pytest.mark.parametrize("seed", range(3))
class TestAgainstLoops:
    def test_diversity(self, seed: int):
        lists, vectors, _ = drawn(seed)
        for ranked, value in zip(lists, diversity(lists, vectors), strict=True):
            pairs = list(itertools.combinations(ranked[ranked >= 0], 2))
            expected = np.mean([cosine(vectors[i], vectors[j]) for i, j in pairs]) if pairs else math.nan
            assert value == pytest.approx(expected, nan_ok=True)

    def test_novelty_and_popularity(self, seed: int):
        lists, _, users = drawn(seed)
        both = zip(lists, novelty(lists, users, 20), popularity(lists, users, 20), strict=True)
        for ranked, surprise, popular in both:
            items = ranked[ranked >= 0]
            bits = [-math.log2(max(users[i], 1) / 20) for i in items]
            assert surprise == pytest.approx(np.mean(bits) if bits else math.nan, nan_ok=True)
            assert popular == pytest.approx(np.mean([users[i] / 20 for i in items]) if bits else math.nan, nan_ok=True)

    def test_lift_is_over_the_users_who_have_a_profile(self, seed: int):
        lists, _, users = drawn(seed)
        lists, users = lists[3:], users + 1
        profiles = {0: [1, 2], 1: [3], 3: [0, 4, 5]}
        user, item = (
            np.array(column) for column in zip(*((u, i) for u, chosen in profiles.items() for i in chosen), strict=True)
        )
        profile = profile_popularity(user, item, users, 21, 5)
        assert np.isnan(profile[[2, 4]]).all()
        before = np.mean([np.mean([users[i] / 21 for i in chosen]) for chosen in profiles.values()])
        after = np.mean([np.mean(users[lists[u]] / 21) for u in profiles])
        assert popularity_lift(lists, profile, users, 21) == pytest.approx((after - before) / before)

    def test_gini_is_half_the_mean_difference_over_the_mean(self, seed: int):
        lists, _, _ = drawn(seed)
        counts = [int((lists == item).sum()) for item in range(ITEMS)]
        differences = sum(abs(a - b) for a in counts for b in counts)
        assert gini(lists, ITEMS) == pytest.approx(differences / (2 * ITEMS * sum(counts)))


def test_equal_exposure_has_a_gini_of_zero_and_one_item_alone_nearly_one():
    assert gini(np.array([[0, 1], [2, 3]]), 4) == 0
    assert gini(np.full((9, 1), 3), 100) == pytest.approx(0.99)
    assert math.isnan(gini(np.full((2, 2), -1), 4))


def test_items_alike_have_no_diversity_and_vectors_of_zeros_have_no_cosine():
    assert diversity(np.array([[0, 1]]), np.array([[1.0, 2.0], [2.0, 4.0]]))[0] == pytest.approx(0)
    assert diversity(np.array([[0, 1]]), np.array([[1.0, 2.0], [0.0, 0.0]]))[0] == 1


def test_lists_that_are_the_profiles_have_no_lift():
    lists, users = np.array([[0, 1], [2, 3]]), np.array([4, 3, 2, 1])
    profile = profile_popularity(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]), users, 5, 2)
    assert popularity_lift(lists, profile, users, 5) == pytest.approx(0)
    assert math.isnan(popularity_lift(lists, np.full(2, math.nan), users, 5))
