"""Estimators against loops over requests, and properties that hold for every log."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrec.evaluate.off_policy.estimators import ESTIMATORS, on_policy
from polyrec.evaluate.off_policy.lists import Lists
from polyrec.evaluate.off_policy.weights import importance

INTERACTIONS = ("cascade", "independent", "list")


def drawn(seed: int, requests: int = 30, ranks: int = 3) -> Lists:
    """Return lists of one to three ranks with arbitrary propensities, rewards and models."""
    generator = np.random.default_rng(seed)
    exists = np.arange(ranks) < generator.integers(1, ranks + 1, size=(requests, 1))
    exists[0] = True
    uniform = generator.uniform(0.05, 1, size=(5, requests, ranks))
    reward, logged, target, predicted, expected = uniform
    of_one = (np.where(exists, values, 1.0) for values in (logged, target))
    of_zero = (np.where(exists, values, 0.0) for values in (predicted, expected))
    return Lists(np.where(exists, reward, 0), *of_one, exists, np.arange(requests), *of_zero)


def weight(lists: Lists, request: int, rank: int, interaction: str) -> float:
    """Return the product of ratios that an interaction requires, computed by a loop."""
    length = int(lists.exists_JK[request].sum())
    of = {"cascade": range(rank + 1), "independent": [rank], "list": range(length)}[interaction]
    product = 1.0
    for other in of:
        product *= lists.target_JK[request, other] / lists.logged_JK[request, other]
    return product


def loop(name: str, lists: Lists, interaction: str) -> float:
    rows = [(j, k) for j, k in zip(*lists.exists_JK.nonzero(), strict=True)]
    requests = len(lists.reward_JK)
    if name == "ips":
        return sum(weight(lists, j, k, interaction) * lists.reward_JK[j, k] for j, k in rows) / requests
    if name == "snips":
        total = 0.0
        for rank in range(lists.reward_JK.shape[1]):
            requests_of_rank = [j for j, k in rows if k == rank]
            weights = [weight(lists, j, rank, interaction) for j in requests_of_rank]
            total += len(requests_of_rank) / requests * np.average(lists.reward_JK[requests_of_rank, rank], weights=weights)
        return total
    total = 0.0
    for j, k in rows:
        before = 1.0 if interaction == "independent" or k == 0 else weight(lists, j, k - 1, "cascade")
        total += weight(lists, j, k, interaction) * (lists.reward_JK[j, k] - lists.predicted_JK[j, k])
        total += before * lists.expected_JK[j, k]
    return total / requests


@pytest.mark.parametrize("interaction", INTERACTIONS)
@pytest.mark.parametrize("name", list(ESTIMATORS))
class TestEstimators:
    def test_equal_a_loop_over_lists_of_unequal_length(self, name: str, interaction: str):
        for seed in range(5):
            lists = drawn(seed)
            value, influence = ESTIMATORS[name](lists, importance(lists, interaction))
            assert value == pytest.approx(loop(name, lists, interaction))
            assert influence.mean() == pytest.approx(0, abs=1e-12)

    def test_the_influence_is_half_of_what_a_request_more_and_one_less_do(self, name: str, interaction: str):
        lists = drawn(0, requests=400)
        _, influence = ESTIMATORS[name](lists, importance(lists, interaction))
        for request in range(0, 400, 57):
            counts = np.eye(400, dtype=int)[request]
            more, less = (
                self.value(lists, np.repeat(np.arange(400), 1 + sign * counts), name, interaction) for sign in (1, -1)
            )
            assert (more - less) / 2 * 400 == pytest.approx(influence[request], rel=0.005, abs=1e-4)

    def value(self, lists: Lists, rows: np.ndarray, name: str, interaction: str) -> float:
        fields = ("reward_JK", "logged_JK", "target_JK", "exists_JK", "cluster_J", "predicted_JK", "expected_JK")
        some = Lists(*(getattr(lists, field)[rows] for field in fields))
        return ESTIMATORS[name](some, importance(some, interaction))[0]

    def test_a_target_that_is_the_logging_policy_has_its_value(self, name: str, interaction: str):
        lists = drawn(1)
        same = Lists(
            lists.reward_JK,
            lists.logged_JK,
            lists.logged_JK,
            lists.exists_JK,
            lists.cluster_J,
            lists.predicted_JK,
            lists.predicted_JK,
        )
        for result, expected in zip(ESTIMATORS[name](same, importance(same, interaction)), on_policy(same), strict=True):
            np.testing.assert_allclose(result, expected, atol=1e-12)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), shift=st.floats(-5, 5))
def test_snips_moves_with_the_rewards_and_stays_in_their_range(seed, shift):
    lists = drawn(seed, ranks=1)
    weights = importance(lists, "cascade")
    value, influence = ESTIMATORS["snips"](lists, weights)
    assert lists.reward_JK.min() <= value <= lists.reward_JK.max()
    moved = replace(lists, reward_JK=lists.reward_JK + shift)
    other, shifted = ESTIMATORS["snips"](moved, weights)
    assert other == pytest.approx(value + shift)
    np.testing.assert_allclose(shifted, influence, atol=1e-9)


def test_a_model_of_zeros_makes_doubly_robust_ips_and_one_that_is_right_leaves_the_contexts_alone():
    lists = drawn(2)
    zero_JK = np.zeros_like(lists.reward_JK)
    blank = replace(lists, predicted_JK=zero_JK, expected_JK=zero_JK)
    weights = importance(lists, "cascade")
    assert ESTIMATORS["dr"](blank, weights)[0] == pytest.approx(ESTIMATORS["ips"](lists, weights)[0])
    right = replace(lists, predicted_JK=lists.reward_JK)
    value, influence = ESTIMATORS["dr"](right, importance(right, "independent"))
    np.testing.assert_allclose(value + influence, lists.expected_JK.sum(1))
