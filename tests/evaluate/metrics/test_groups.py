"""Metrics of the order within groups against loops and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40)


def observed(rows: list[tuple[int, int, int]], weight: np.ndarray | None = None) -> Observed:
    group, prediction, target = (np.array(column) for column in zip(*rows, strict=True))
    return Observed(prediction / 4, target, group * 10**15 + 7, weight)


def loop_of_pairs(rows: list[tuple[int, int, int]]) -> float:
    credits = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for group_a, a, label_a in rows
        for group_b, b, label_b in rows
        if group_a == group_b and label_a > label_b
    ]
    return sum(credits) / len(credits) if credits else math.nan


def loop_of_lists(rows: list[tuple[int, int, int]]) -> float:
    values = []
    for group in {row[0] for row in rows}:
        prediction, target = zip(*[row[1:] for row in rows if row[0] == group], strict=True)
        if max(target) > 0:
            values.append(ndcg_score([target], [prediction]) if len(target) > 1 else 1.0)
    return sum(values) / len(values) if values else math.nan


@pytest.mark.parametrize(("name", "loop"), [("pair_accuracy", loop_of_pairs), ("group_ndcg", loop_of_lists)])
class TestMetrics:
    @settings(max_examples=100)
    @given(rows=ROWS)
    def test_equal_a_loop_over_groups_with_ties(self, name, loop, rows):
        assert METRICS[name](observed(rows)) == pytest.approx(loop(rows), nan_ok=True)

    @settings(max_examples=50)
    @given(rows=ROWS, draws=st.lists(st.integers(0, 3), min_size=5, max_size=5))
    def test_count_a_group_drawn_several_times_as_several_groups(self, name, loop, rows, draws):
        copies = [(5 * copy + g, p, y) for g, p, y in rows for copy in range(draws[g])]
        weight = np.array([draws[g] for g, _, _ in rows])
        expected = loop(copies) if copies else math.nan
        assert METRICS[name](observed(rows, weight)) == pytest.approx(expected, nan_ok=True)

    @settings(max_examples=30)
    @given(rows=ROWS, shifts=st.lists(st.integers(-9, 9), min_size=5, max_size=5))
    def test_ignore_how_groups_compare(self, name, loop, rows, shifts):
        shifted = [(g, p + 4 * shifts[g], y) for g, p, y in rows]
        assert METRICS[name](observed(shifted)) == pytest.approx(METRICS[name](observed(rows)), nan_ok=True)

    def test_are_one_where_the_order_is_right_and_undefined_without_groups(self, name, loop):
        rows = observed([(0, 3, 5), (0, 1, 1), (0, 0, 0), (1, 0, 2), (1, 3, 3)])
        assert METRICS[name](rows) == 1
        assert math.isnan(METRICS[name](Observed(rows.prediction, rows.target)))


def test_pair_accuracy_at_a_value_counted_by_hand():
    rows = [(0, 3, 1), (0, 2, 2), (0, 1, 0), (1, 2, 1), (1, 2, 0), (2, 0, 5)]
    assert METRICS["pair_accuracy"](observed(rows)) == pytest.approx((2 + 0.5) / 4)


def test_group_ndcg_at_a_value_computed_by_hand():
    rows = [(0, 2, 1), (0, 1, 3), (1, 0, 0)]
    expected = (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))
    assert METRICS["group_ndcg"](observed(rows)) == pytest.approx(expected)


def test_group_ndcg_gives_a_label_below_zero_no_gain():
    assert METRICS["group_ndcg"](observed([(0, 1, -2), (0, 0, 1)])) == pytest.approx(1 / math.log2(3))
    assert math.isnan(METRICS["group_ndcg"](observed([(0, 1, -2), (0, 0, 0)])))


def test_pair_accuracy_of_many_grades_takes_no_square_of_the_rows():
    generator = np.random.default_rng(0)
    target = generator.normal(size=100_000)
    rows = Observed(target + generator.normal(size=100_000), target, np.zeros(100_000, dtype=int))
    kendall = 2 / math.pi * math.asin(1 / math.sqrt(2))
    assert METRICS["pair_accuracy"](rows) == pytest.approx((1 + kendall) / 2, abs=0.005)
