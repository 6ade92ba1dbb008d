"""Metrics against scikit-learn, naive loops and hand-made numbers."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from polyrec import kinds
from polyrec.evaluate.metrics import METRICS
from polyrec.evaluate.observed import Observed

GENERATOR = np.random.default_rng(0)


def binary(rows: int = 200) -> Observed:
    return Observed(GENERATOR.integers(0, 9, rows) / 10, GENERATOR.integers(0, 2, rows), GENERATOR.integers(0, 12, rows))


def number(rows: int = 200) -> Observed:
    return Observed(GENERATOR.normal(size=rows), GENERATOR.normal(size=rows))


def classes(rows: int = 200) -> Observed:
    return Observed(GENERATOR.dirichlet(np.ones(4), rows), GENERATOR.integers(0, 4, rows))


def labels(rows: int = 200) -> Observed:
    return Observed(GENERATOR.random((rows, 3)), GENERATOR.integers(0, 2, (rows, 3)))


OF_METRIC = {
    "auc": binary, "gauc": binary, "ece": binary, "rmse": number, "mae": number, "r2": number,
    "accuracy": classes, "macro_f1": classes, "micro_auc": labels, "macro_auc": labels, "log_loss": binary,
}  # fmt: skip


def test_every_metric_of_every_task_exists():
    assert {name for task in kinds("tasks").values() for name in task.metrics} <= set(METRICS)
    assert set(OF_METRIC) == set(METRICS)


class TestAgainstScikitLearn:
    def test_auc(self):
        own = binary()
        assert METRICS["auc"](own) == pytest.approx(reference.roc_auc_score(own.target, own.prediction))

    def test_log_loss(self):
        own = binary()
        clipped = own.prediction.clip(1e-7)
        assert METRICS["log_loss"](own) == pytest.approx(reference.log_loss(own.target, clipped))
        many = classes()
        assert METRICS["log_loss"](many) == pytest.approx(reference.log_loss(many.target, many.prediction, labels=range(4)))

    def test_regression(self):
        own = number()
        assert METRICS["rmse"](own) == pytest.approx(reference.root_mean_squared_error(own.target, own.prediction))
        assert METRICS["mae"](own) == pytest.approx(reference.mean_absolute_error(own.target, own.prediction))
        assert METRICS["r2"](own) == pytest.approx(reference.r2_score(own.target, own.prediction))

    def test_classes(self):
        own = classes()
        said = own.prediction.argmax(1)
        assert METRICS["accuracy"](own) == pytest.approx(reference.accuracy_score(own.target, said))
        assert METRICS["macro_f1"](own) == pytest.approx(reference.f1_score(own.target, said, average="macro"))

    def test_labels(self):
        own = labels()
        for average in ("micro", "macro"):
            expected = reference.roc_auc_score(own.target, own.prediction, average=average)
            assert METRICS[f"{average}_auc"](own) == pytest.approx(expected)


class TestGauc:
    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=40))
    def test_equals_a_loop_over_users_with_ties(self, rows):
        group, prediction, target = (np.array(column) for column in zip(*rows, strict=True))
        total, weight = 0.0, 0
        for user in set(group):
            own = group == user
            if 0 < target[own].sum() < own.sum():
                total += own.sum() * reference.roc_auc_score(target[own], prediction[own])
                weight += own.sum()
        found = METRICS["gauc"](Observed(prediction, target.astype(float), group))
        assert (np.isnan(found) and weight == 0) or found == pytest.approx(total / weight)

    def test_does_not_see_how_users_compare(self):
        target, group = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
        observed = Observed(np.array([0.9, 0.8, 0.2, 0.1]), target, group)
        assert METRICS["gauc"](observed) == 1.0
        assert METRICS["auc"](observed) == 0.75


def test_auc_knows_only_the_order_of_predictions():
    own = binary()
    stretched = Observed(np.exp(3 * own.prediction), own.target)
    assert METRICS["auc"](stretched) == pytest.approx(METRICS["auc"](own))
    assert METRICS["auc"](Observed(-own.prediction, own.target)) == pytest.approx(1 - METRICS["auc"](own))


def test_macro_auc_leaves_out_labels_of_one_value():
    own = labels()
    constant = own.target.copy()
    constant[:, 1] = 1
    expected = np.mean([reference.roc_auc_score(own.target[:, c], own.prediction[:, c]) for c in (0, 2)])
    assert METRICS["macro_auc"](Observed(own.prediction, constant)) == pytest.approx(expected)


def test_log_loss_of_several_labels_equals_the_mean_over_labels():
    own = labels()
    expected = np.mean([reference.log_loss(own.target[:, c], own.prediction[:, c]) for c in range(3)])
    assert METRICS["log_loss"](own) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 3, 6, 7, 1000])
def test_r2_of_a_constant_label_is_undefined(rows: int):
    assert np.isnan(METRICS["r2"](Observed(np.linspace(0, 1, rows), np.full(rows, 0.1))))


def test_r2_of_a_label_that_is_constant_where_rows_count_is_undefined():
    observed = Observed(np.zeros(4), np.array([0.1, 0.1, 0.1, 5.0]), weight=np.array([1, 1, 1, 0]))
    assert np.isnan(METRICS["r2"](observed))


@pytest.mark.parametrize("name", ["auc", "gauc", "micro_auc", "macro_auc"])
@pytest.mark.parametrize("value", [0, 1])
def test_an_area_needs_both_values(name: str, value: int):
    own = OF_METRIC[name]()
    assert np.isnan(METRICS[name](Observed(own.prediction, np.full_like(own.target, value), own.group)))


def test_ece_by_hand():
    observed = Observed(np.array([0.01, 0.02, 0.99, 0.98]), np.array([0, 1, 1, 1]))
    assert METRICS["ece"](observed) == pytest.approx((abs(0.03 - 1) + abs(1.97 - 2)) / 4)


@pytest.mark.parametrize("name", sorted(METRICS))
class TestEveryMetric:
    def test_a_weight_is_a_repetition_of_rows(self, name: str):
        own = OF_METRIC[name]()
        weight = GENERATOR.integers(0, 4, len(own.target))
        if own.group is not None:
            weight = GENERATOR.integers(0, 4, 12)[own.group]
        repeated = own.take(np.repeat(np.arange(len(weight)), weight))
        assert METRICS[name](own.weighted(weight)) == pytest.approx(METRICS[name](repeated))

    def test_the_order_of_rows_does_not_matter(self, name: str):
        own = OF_METRIC[name]()
        assert METRICS[name](own.take(GENERATOR.permutation(len(own.target)))) == pytest.approx(METRICS[name](own))

    def test_no_rows_and_one_value_are_nan_or_a_number_without_a_warning(self, name: str):
        own = OF_METRIC[name]()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(METRICS[name](own.take(np.array([], dtype=int))))
            same = Observed(own.prediction, np.zeros_like(own.target), own.group)
            assert isinstance(METRICS[name](same), float)

    def test_a_prediction_that_is_no_number_makes_it_undefined(self, name: str):
        own = OF_METRIC[name]()
        for value in (np.nan, np.inf):
            broken = own.prediction.copy()
            broken[3] = value
            assert np.isnan(METRICS[name](Observed(broken, own.target, own.group)))

    def test_better_predictions_are_better(self, name: str):
        own = OF_METRIC[name]()
        truth = np.eye(4)[own.target] if own.target.ndim < own.prediction.ndim else own.target
        better = Observed(own.prediction * 0.4 + truth * 0.6, own.target, own.group)
        gain = METRICS[name](better) - METRICS[name](own)
        assert (gain > 0) == METRICS[name].higher_is_better
