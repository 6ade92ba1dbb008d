"""Reliability curves: their bins, their intervals, and several probabilities per row."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.reliability import Reliability, calibration_error, pairs, reliability


def calibrated(count: int = 30_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    prediction = generator.beta(1, 20, count)
    return prediction, (generator.random(count) < prediction).astype(float)


def test_bins_hold_equal_numbers_of_rows():
    curve = reliability(*calibrated(1500))
    assert curve.count_B.tolist() == [100] * 15


def test_by_hand():
    curve = reliability(np.array([0.9, 0.1, 0.3, 0.7]), np.array([1, 0, 1, 1]), bins=2)
    assert curve.prediction_B.tolist() == pytest.approx([0.2, 0.8])
    assert curve.label_B.tolist() == [0.5, 1.0]
    assert curve.count_B.tolist() == [2, 2]


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=80), st.integers(1, 20))
def test_every_row_counts_once_and_rows_of_one_prediction_stay_together(rows: list[tuple[int, bool]], bins: int):
    prediction, target = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    curve = reliability(prediction / 6, target, bins)
    assert curve.count_B.sum() == len(rows)
    assert (curve.count_B > 0).all()
    assert len(curve.count_B) <= min(bins, len(set(prediction)))
    assert (np.diff(curve.prediction_B) > 0).all()
    assert (curve.label_B * curve.count_B).sum() == pytest.approx(target.sum())
    order = np.random.default_rng(0).permutation(len(rows))
    again = reliability(prediction[order] / 6, target[order], bins)
    np.testing.assert_allclose(again.label_B, curve.label_B)


def test_intervals_are_those_of_wilson():
    curve = reliability(*calibrated())
    for share, count, low, high in zip(curve.label_B, curve.count_B, curve.low_B, curve.high_B, strict=True):
        expected = binomtest(round(share * count), int(count)).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_intervals_of_calibrated_predictions_hold_the_prediction_nineteen_times_in_twenty():
    inside = []
    for seed in range(40):
        curve = reliability(*calibrated(3000, seed))
        inside += list((curve.low_B <= curve.prediction_B) & (curve.prediction_B <= curve.high_B))
    assert 0.92 < np.mean(inside) < 0.98


def test_no_rows_give_no_bins():
    curve = reliability(np.array([]), np.array([]))
    assert [len(values) for values in vars(curve).values()] == [0] * 5


def test_classes_are_judged_by_the_most_probable_one():
    prediction, target = np.array([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]]), np.array([0, 1])
    probabilities, came_true = pairs(prediction, target)
    assert probabilities.tolist() == [0.7, 0.5]
    assert came_true.tolist() == [1.0, 0.0]
    assert calibration_error(prediction, target) == pytest.approx((0.3 + 0.5) / 2)


def test_labels_are_judged_each_for_itself():
    prediction, target = np.array([[0.7, 0.2], [0.1, 0.5]]), np.array([[1, 0], [0, 1]])
    probabilities, came_true = pairs(prediction, target)
    assert probabilities.tolist() == [0.7, 0.2, 0.1, 0.5]
    assert came_true.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_the_error_of_single_probabilities_is_the_metric():
    prediction, target = calibrated()
    assert calibration_error(prediction, target) == METRICS["ece"](Observed(prediction, target))


def test_json_gives_the_curve_back():
    curve = reliability(*calibrated())
    again = Reliability.from_dict(json.loads(json.dumps(curve.to_dict(), allow_nan=False)))
    for name, values in vars(curve).items():
        assert np.array_equal(values, getattr(again, name))
