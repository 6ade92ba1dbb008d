"""Metrics of lists against scikit-learn, user by user."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from polyrec.evaluate.metrics.lists import ListMetric, is_list_metric
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=40)
"""User, label and a score with ties; users without rows are among the six."""


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    user, label, score = (np.array(column) for column in zip(*rows, strict=True))
    return user, label, score.astype(float)


@given(rows=ROWS)
def test_gauc_is_the_auc_within_each_user_and_their_mean_is_that_of_evaluate(rows: list):
    user, label, score = columns(rows)
    metric = ListMetric.of("gauc", label, np.arange(len(user)), user, 6)
    values = metric.values(score)
    for number in range(6):
        of_user = user == number
        expected = roc_auc_score(label[of_user], score[of_user]) if len(set(label[of_user])) == 2 else np.nan
        np.testing.assert_allclose(values[number], expected, rtol=1e-12)
    np.testing.assert_allclose(metric.mean(values), METRICS["gauc"](Observed(score, label, user)), rtol=1e-12)


@given(rows=ROWS, k=st.integers(1, 6))
def test_ndcg_is_that_of_scikit_learn_with_ties_shared(rows: list, k: int):
    user, label, score = columns(rows)
    grade = label * (1 + np.arange(len(label)) % 3)
    values = ListMetric.of(f"ndcg@{k}", grade, np.arange(len(user)), user, 6).values(score)
    for number in range(6):
        of_user = user == number
        if of_user.sum() < 2 or not grade[of_user].any():
            assert np.isnan(values[number]) or (of_user.sum() == 1 and values[number] == pytest.approx(1))
        else:
            np.testing.assert_allclose(values[number], ndcg_score([grade[of_user]], [score[of_user]], k=k), rtol=1e-12)


@given(rows=ROWS, k=st.integers(1, 6))
def test_the_mean_of_the_first_is_the_mean_over_all_orders_of_ties(rows: list, k: int):
    user, label, score = columns(rows)
    values = ListMetric.of(f"mean@{k}", label, np.arange(len(user)), user, 6).values(score)
    for number in range(6):
        of_user = user == number
        if not of_user.any():
            assert np.isnan(values[number])
            continue
        places = {value: np.flatnonzero(np.sort(-score[of_user]) == -value) for value in score[of_user]}
        counts = [float((places[value] < k).mean()) for value in score[of_user]]
        np.testing.assert_allclose(
            values[number], np.dot(label[of_user], counts) / min(k, of_user.sum()), rtol=1e-12, atol=1e-15
        )


@given(rows=ROWS)
def test_drawing_a_user_twice_counts_it_twice(rows: list):
    user, label, score = columns(rows)
    metric = ListMetric.of("mean@2", label, np.arange(len(user)), user, 6)
    values, draws = metric.values(score), np.array([0, 2, 1, 0, 3, 1])
    drawn = np.repeat(values, draws)
    expected = np.nanmean(drawn) if not np.isnan(drawn).all() else np.nan
    np.testing.assert_allclose(metric.mean(values, draws), expected, rtol=1e-12, atol=1e-15)


def test_only_rows_with_a_label_are_in_the_list():
    metric = ListMetric.of("mean@1", np.array([1.0, 3.0]), np.array([0, 2]), np.array([0, 0]), 1)
    assert metric.values(np.array([0.5, 9.0, 0.7])).tolist() == [3.0]


@pytest.mark.parametrize(
    ("name", "known"), [("gauc", True), ("ndcg@10", True), ("mean@1", True), ("ndcg@0", False), ("ndcg", False), ("auc", False)]
)
def test_names(name: str, known: bool):
    assert is_list_metric(name) is known
