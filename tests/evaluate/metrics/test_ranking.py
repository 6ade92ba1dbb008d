"""Ranking metrics by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from polyrec.evaluate.metrics.ranking import coverage, ranking_values

RANKED = np.array([[3, 1, 2], [7, 8, -1]])
USERS, ITEMS = np.array([0, 0, 1]), np.array([1, 9, 5])


def test_by_hand():
    values = ranking_values(RANKED, USERS, ITEMS, (1, 3))
    assert values["recall@3"].tolist() == [0.5, 0.0]
    assert values["hit_rate@3"].tolist() == [1.0, 0.0]
    assert values["hit_rate@1"].tolist() == [0.0, 0.0]
    assert values["mrr@3"].tolist() == [0.5, 0.0]
    assert values["ndcg@3"][0] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


def test_padding_is_no_item():
    assert ranking_values(np.array([[-1, -1]]), np.array([0]), np.array([0]), (2,))["hit_rate@2"].tolist() == [0.0]


def test_a_user_without_relevant_items_has_no_value():
    values = ranking_values(np.array([[1, 2], [1, 2]]), np.array([0]), np.array([1]), (2,))
    assert all(value[0] == 1 for value in values.values())
    assert all(np.isnan(value[1]) for value in values.values())


def test_no_relevant_item_at_all():
    none = np.array([], dtype=int)
    values = ranking_values(np.array([[1, 2]]), none, none, (2,))
    assert all(np.isnan(value).all() for value in values.values())


def test_recall_counts_relevant_items_beyond_k_and_outside_the_catalogue():
    values = ranking_values(np.array([[0, 1]]), np.array([0, 0, 0, 0]), np.array([0, 1, 9, 9]), (1, 2))
    assert values["recall@1"].tolist() == [0.25]
    assert values["recall@2"].tolist() == [0.5]
    assert values["ndcg@2"].tolist() == [1.0]


def test_a_k_beyond_the_list_counts_what_is_there():
    values = ranking_values(np.array([[0, 1]]), np.array([0, 0, 0]), np.array([0, 1, 2]), (10,))
    discounts = 1 / np.log2([2, 3, 4])
    assert values["recall@10"][0] == pytest.approx(2 / 3)
    assert values["ndcg@10"][0] == pytest.approx(discounts[:2].sum() / discounts.sum())


def test_ndcg_equals_scikit_learn():
    generator = np.random.default_rng(0)
    scores, relevant = generator.random((30, 50)), generator.random((30, 50)) < 0.1
    relevant[:, 0] = True
    users, items = relevant.nonzero()
    values = ranking_values(np.argsort(-scores, axis=1), users, items, (10,))["ndcg@10"]
    expected = [ndcg_score(relevant[[u]], scores[[u]], k=10) for u in range(30)]
    np.testing.assert_allclose(values, expected)


def test_a_perfect_list_has_one_of_everything():
    values = ranking_values(np.array([[4, 2]]), np.array([0, 0]), np.array([2, 4]), (2,))
    assert {name: float(value[0]) for name, value in values.items()} == dict.fromkeys(values, 1.0)


def test_coverage_counts_items_once():
    assert coverage(RANKED, 10, 3) == 0.5
    assert coverage(RANKED, 10, 1) == 0.2
