"""The cost of a fusion against loops over users, scikit-learn and other metrics."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from polyrec.evaluate.fusion_cost import fusion_cost
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


def drawn(seed: int, users: int = 40, rows: int = 15) -> tuple[np.ndarray, ...]:
    """Return fused scores, predictions, labels of 0 and 1 and users; the predictions are more accurate than the scores."""
    generator = np.random.default_rng(seed)
    user = generator.permutation(np.repeat(np.arange(users), rows))
    target = (generator.random(len(user)) < 0.3).astype(int)
    return target + 2 * generator.normal(size=len(user)), target + generator.normal(size=len(user)), target, user


def loop_of_ndcg(score: np.ndarray, target: np.ndarray, user: np.ndarray, k: int) -> float:
    values = []
    for person in np.unique(user):
        of_person = user == person
        if target[of_person].max() > 0:
            values.append(ndcg_score([target[of_person]], [score[of_person]], k=k) if of_person.sum() > 1 else 1.0)
    return float(np.mean(values)) if values else math.nan


@settings(max_examples=100)
@given(rows=ROWS)
def test_grades_with_ties_equal_loops(rows):
    user, score, prediction, target = (np.array(column) for column in zip(*rows, strict=True))
    costs = fusion_cost(score / 3, prediction / 3, target, user * 10**15, (2,), 0, 0)
    for name, order in (("fused", score), ("own", prediction)):
        assert getattr(costs["ndcg@2"], name) == pytest.approx(loop_of_ndcg(order, target, user, 2), nan_ok=True)
    single = [np.flatnonzero(user == person) for person in np.unique(user)]
    accuracies = [METRICS["pair_accuracy"](Observed(score[rows], target[rows], user[rows])) for rows in single]
    sizes = [0 if math.isnan(value) else len(rows) for value, rows in zip(accuracies, single, strict=True)]
    expected = np.average(np.nan_to_num(accuracies), weights=sizes) if sum(sizes) else math.nan
    assert costs["gauc"].fused == pytest.approx(expected, nan_ok=True)


def test_labels_of_zero_and_one_give_the_gauc_of_the_metrics_and_of_scikit_learn():
    score, prediction, target, user = drawn(0)
    cost = fusion_cost(score, prediction, target, user, (), 0, 0)["gauc"]
    assert cost.fused == pytest.approx(METRICS["gauc"](Observed(score, target, user)))
    both = [person for person in np.unique(user) if np.ptp(target[user == person]) > 0]
    aucs = [roc_auc_score(target[user == person], prediction[user == person]) for person in both]
    assert cost.own == pytest.approx(np.mean(aucs))
    assert cost.difference == pytest.approx(cost.fused - cost.own)
    assert math.isnan(cost.low)


def test_an_order_that_is_the_same_costs_nothing_with_certainty():
    score, _, target, user = drawn(1)
    for cost in fusion_cost(np.exp(score), score, target, user, (5,), 50, 0).values():
        assert (cost.difference, cost.low, cost.high) == (0, 0, 0)


def test_the_paired_interval_covers_the_truth_and_is_narrower_than_an_unpaired_one():
    truth = np.mean([fusion_cost(*drawn(seed, users=2000), (5,), 0, 0)["ndcg@5"].difference for seed in range(1000, 1010)])
    hits, widths = 0, []
    for seed in range(100):
        cost = fusion_cost(*drawn(seed), (5,), 200, seed)["ndcg@5"]
        hits += cost.low <= truth <= cost.high
        widths.append(cost.high - cost.low)
    assert 88 <= hits <= 99
    score, _, target, user = drawn(0)
    noisy = score + np.random.default_rng(1).normal(size=len(score)) / 100
    close = fusion_cost(score, noisy, target, user, (5,), 200, 0)["ndcg@5"]
    assert close.high - close.low < np.mean(widths) / 3


def test_a_score_that_is_no_number_has_no_cost():
    costs = fusion_cost(np.array([math.nan, 1]), np.array([0.0, 1]), np.array([0, 1]), np.zeros(2), (1,), 10, 0)
    assert all(math.isnan(cost.fused) and math.isnan(cost.low) for cost in costs.values())
