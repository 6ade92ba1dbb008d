"""Metrics against scikit-learn, naive loops and hand-made numbers."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from polyrec import kinds
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed

GENERATOR = np.random.default_rng(0)


def binary(rows: int = 200) -> Observed:
    return Observed(GENERATOR.integers(0, 9, rows) / 10, GENERATOR.integers(0, 2, rows), GENERATOR.integers(0, 12, rows))


def number(rows: int = 200) -> Observed:
    return Observed(GENERATOR.normal(size=rows), GENERATOR.normal(size=rows))


def classes(rows: int = 200) -> Observed:
    return Observed(GENERATOR.dirichlet(np.ones(4), rows), GENERATOR.integers(0, 4, rows))


def labels(rows: int = 200) -> Observed:
    return Observed(GENERATOR.random((rows, 3)), GENERATOR.integers(0, 2, (rows, 3)))


def grades(rows: int = 200) -> Observed:
    return Observed(GENERATOR.normal(3, 1, rows), GENERATOR.integers(1, 6, rows).astype(float))


def counts(rows: int = 200) -> Observed:
    return Observed(GENERATOR.gamma(2, 1, rows), GENERATOR.poisson(2, rows).astype(float))


def quantiles(rows: int = 200) -> Observed:
    return Observed(np.sort(GENERATOR.normal(size=(rows, 3)), 1), GENERATOR.normal(size=rows), levels=(0.1, 0.5, 0.9))


def durations(rows: int = 200) -> Observed:
    """Return whole-number durations, so that there are ties; a third are censored."""
    target = np.column_stack([GENERATOR.integers(1, 60, rows), GENERATOR.integers(0, 3, rows) == 0]).astype(float)
    return Observed(GENERATOR.integers(1, 60, rows).astype(float), target)


def lists(rows: int = 200) -> Observed:
    return Observed(GENERATOR.integers(0, 9, rows) / 10, GENERATOR.integers(0, 5, rows), GENERATOR.integers(0, 12, rows))


OF_METRIC = {
    "auc": binary, "gauc": binary, "ece": binary, "rmse": number, "mae": number, "r2": number,
    "accuracy": classes, "macro_f1": classes, "micro_auc": labels, "macro_auc": labels, "log_loss": binary,
    "quadratic_kappa": grades, "poisson_deviance": counts, "pinball": quantiles, "coverage_gap": quantiles,
    "concordance": durations, "uncensored_mae": durations,
    "pair_accuracy": lists, "group_ndcg": lists,
}  # fmt: skip


def test_every_metric_of_every_task_exists():
    of_rows = {name for task in kinds("tasks").values() if not task.ranks_catalogue for name in task.metrics}
    assert of_rows <= set(METRICS)
    assert set(OF_METRIC) == set(METRICS)


def as_predicted(observed: Observed) -> np.ndarray:
    """Return a perfect prediction."""
    if observed.prediction.ndim > observed.target.ndim:
        return observed.target[:, None].repeat(len(observed.levels), 1) if observed.levels else np.eye(4)[observed.target]
    return observed.target[:, 0] if observed.target.ndim > observed.prediction.ndim else observed.target


class TestAgainstScikitLearn:
    def test_auc(self):
        observed = binary()
        assert METRICS["auc"](observed) == pytest.approx(reference.roc_auc_score(observed.target, observed.prediction))

    def test_log_loss(self):
        observed = binary()
        clipped = observed.prediction.clip(1e-7)
        assert METRICS["log_loss"](observed) == pytest.approx(reference.log_loss(observed.target, clipped))
        many = classes()
        assert METRICS["log_loss"](many) == pytest.approx(reference.log_loss(many.target, many.prediction, labels=range(4)))

    def test_regression(self):
        observed = number()
        assert METRICS["rmse"](observed) == pytest.approx(
            reference.root_mean_squared_error(observed.target, observed.prediction)
        )
        assert METRICS["mae"](observed) == pytest.approx(reference.mean_absolute_error(observed.target, observed.prediction))
        assert METRICS["r2"](observed) == pytest.approx(reference.r2_score(observed.target, observed.prediction))

    def test_classes(self):
        observed = classes()
        predicted = observed.prediction.argmax(1)
        assert METRICS["accuracy"](observed) == pytest.approx(reference.accuracy_score(observed.target, predicted))
        assert METRICS["macro_f1"](observed) == pytest.approx(reference.f1_score(observed.target, predicted, average="macro"))

    def test_grades(self):
        observed = grades()
        predicted = observed.prediction.round().clip(1, 5)
        expected = reference.cohen_kappa_score(observed.target, predicted, weights="quadratic")
        assert METRICS["quadratic_kappa"](observed) == pytest.approx(expected)

    def test_counts(self):
        observed = counts()
        assert METRICS["poisson_deviance"](observed) == pytest.approx(
            reference.mean_poisson_deviance(observed.target, observed.prediction)
        )

    def test_quantiles(self):
        observed = quantiles()
        expected = [
            reference.mean_pinball_loss(observed.target, observed.prediction[:, q], alpha=level)
            for q, level in enumerate(observed.levels)
        ]
        assert METRICS["pinball"](observed) == pytest.approx(np.mean(expected))

    def test_labels(self):
        observed = labels()
        for average in ("micro", "macro"):
            expected = reference.roc_auc_score(observed.target, observed.prediction, average=average)
            assert METRICS[f"{average}_auc"](observed) == pytest.approx(expected)


class TestGauc:
    @settings(max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=40))
    def test_equals_a_loop_over_users_with_ties(self, rows):
        group, prediction, target = (np.array(column) for column in zip(*rows, strict=True))
        total, weight = 0.0, 0
        for user in set(group):
            of_user = group == user
            if 0 < target[of_user].sum() < of_user.sum():
                total += of_user.sum() * reference.roc_auc_score(target[of_user], prediction[of_user])
                weight += of_user.sum()
        value = METRICS["gauc"](Observed(prediction, target.astype(float), group))
        assert (np.isnan(value) and weight == 0) or value == pytest.approx(total / weight)

    def test_does_not_see_how_users_compare(self):
        target, group = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
        observed = Observed(np.array([0.9, 0.8, 0.2, 0.1]), target, group)
        assert METRICS["gauc"](observed) == 1.0
        assert METRICS["auc"](observed) == 0.75


class TestConcordance:
    @settings(max_examples=200)
    @given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30))
    def test_equals_a_loop_over_pairs_with_ties_and_weights(self, rows):
        duration, cut, prediction, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        wins = pairs = 0.0
        for i in range(len(rows)):
            for j in range(len(rows)):
                if duration[i] < duration[j] and not cut[i]:
                    pairs += weight[i] * weight[j]
                    wins += weight[i] * weight[j] * ((prediction[i] < prediction[j]) + (prediction[i] == prediction[j]) / 2)
        value = METRICS["concordance"](Observed(prediction, np.column_stack([duration, cut]), weight=weight))
        assert (np.isnan(value) and pairs == 0) or value == pytest.approx(wins / pairs)

    def test_of_two_durations_is_the_area_under_the_curve(self):
        observed = binary()
        durations = Observed(observed.prediction, np.column_stack([observed.target, np.zeros(len(observed.target))]))
        assert METRICS["concordance"](durations) == pytest.approx(METRICS["auc"](observed))

    def test_nothing_follows_from_a_row_that_was_cut_first(self):
        target = np.array([[1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
        assert METRICS["concordance"](Observed(np.array([9.0, 1.0, 2.0]), target)) == 1.0
        assert np.isnan(METRICS["concordance"](Observed(np.array([9.0, 1.0]), target[[0, 2]])))


class TestQuadraticKappa:
    def test_by_hand(self):
        observed = Observed(np.array([1.2, 2.4, 2.9, 1.0]), np.array([1.0, 2.0, 3.0, 3.0]))
        # Said 1, 2, 3, 1: mean square error 4/4; by chance the variances 0.6875 + 0.6875 and the square of the means' distance.
        assert METRICS["quadratic_kappa"](observed) == pytest.approx(1 - 1 / (0.6875 + 0.6875 + 0.25))

    def test_knows_grades_by_their_values(self):
        observed = Observed(np.array([0.9, 2.0, 30.0]), np.array([1.0, 2.0, 10.0]))
        assert METRICS["quadratic_kappa"](observed) == 1.0

    def test_a_tie_between_two_grades_goes_to_the_lower(self):
        observed = Observed(np.array([1.5, 2.0, 1.0]), np.array([1.0, 2.0, 1.0]))
        assert METRICS["quadratic_kappa"](observed) == 1.0

    def test_of_one_grade_is_undefined(self):
        assert np.isnan(METRICS["quadratic_kappa"](Observed(np.array([1.0, 2.0]), np.array([3.0, 3.0]))))


def test_poisson_deviance_of_no_rate_is_large_and_finite():
    assert METRICS["poisson_deviance"](Observed(np.zeros(2), np.array([0.0, 3.0]))) == pytest.approx(3 * np.log(3e7) - 3)


def test_coverage_gap_by_hand():
    prediction = np.array([[0.0, 1.0], [0.0, 5.0], [9.0, 9.0], [0.0, 2.0]])
    observed = Observed(prediction, np.array([2.0, 3.0, 1.0, 2.0]), levels=(0.25, 0.5))
    assert METRICS["coverage_gap"](observed) == pytest.approx((abs(1 / 4 - 0.25) + abs(3 / 4 - 0.5)) / 2)


def test_uncensored_mae_leaves_out_what_was_cut():
    target = np.array([[1.0, 0.0], [2.0, 1.0], [4.0, 0.0]])
    assert METRICS["uncensored_mae"](Observed(np.array([2.0, 90.0, 4.5]), target)) == 0.75
    assert np.isnan(METRICS["uncensored_mae"](Observed(np.array([2.0]), target[[1]])))


def test_auc_knows_only_the_order_of_predictions():
    observed = binary()
    stretched = Observed(np.exp(3 * observed.prediction), observed.target)
    assert METRICS["auc"](stretched) == pytest.approx(METRICS["auc"](observed))
    assert METRICS["auc"](Observed(-observed.prediction, observed.target)) == pytest.approx(1 - METRICS["auc"](observed))


def test_macro_auc_leaves_out_labels_of_one_value():
    observed = labels()
    constant = observed.target.copy()
    constant[:, 1] = 1
    expected = np.mean([reference.roc_auc_score(observed.target[:, c], observed.prediction[:, c]) for c in (0, 2)])
    assert METRICS["macro_auc"](Observed(observed.prediction, constant)) == pytest.approx(expected)


def test_log_loss_of_several_labels_equals_the_mean_over_labels():
    observed = labels()
    expected = np.mean([reference.log_loss(observed.target[:, c], observed.prediction[:, c]) for c in range(3)])
    assert METRICS["log_loss"](observed) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 3, 6, 7, 1000])
def test_r2_of_a_constant_label_is_undefined(rows: int):
    assert np.isnan(METRICS["r2"](Observed(np.linspace(0, 1, rows), np.full(rows, 0.1))))


def test_r2_of_a_label_that_is_constant_where_rows_count_is_undefined():
    observed = Observed(np.zeros(4), np.array([0.1, 0.1, 0.1, 5.0]), weight=np.array([1, 1, 1, 0]))
    assert np.isnan(METRICS["r2"](observed))


@pytest.mark.parametrize("name", ["auc", "gauc", "micro_auc", "macro_auc"])
@pytest.mark.parametrize("value", [0, 1])
def test_an_area_needs_both_values(name: str, value: int):
    observed = OF_METRIC[name]()
    assert np.isnan(METRICS[name](Observed(observed.prediction, np.full_like(observed.target, value), observed.group)))


def test_ece_by_hand():
    observed = Observed(np.array([0.01, 0.02, 0.99, 0.98]), np.array([0, 1, 1, 1]))
    assert METRICS["ece"](observed) == pytest.approx((abs(0.03 - 1) + abs(1.97 - 2)) / 4)


@pytest.mark.parametrize("name", sorted(METRICS))
class TestEveryMetric:
    def test_a_weight_is_a_repetition_of_rows(self, name: str):
        observed = OF_METRIC[name]()
        weight = GENERATOR.integers(0, 4, len(observed.target))
        if observed.group is not None:
            weight = GENERATOR.integers(0, 4, 12)[observed.group]
        repeated = observed.take(np.repeat(np.arange(len(weight)), weight))
        if observed.group is not None:
            repeated = replace(repeated, group=repeated.group + 12 * np.concatenate([np.arange(times) for times in weight]))
        assert METRICS[name](observed.weighted(weight)) == pytest.approx(METRICS[name](repeated))

    def test_the_order_of_rows_does_not_matter(self, name: str):
        observed = OF_METRIC[name]()
        assert METRICS[name](observed.take(GENERATOR.permutation(len(observed.target)))) == pytest.approx(
            METRICS[name](observed)
        )

    def test_no_rows_and_one_value_are_nan_or_a_number_without_a_warning(self, name: str):
        observed = OF_METRIC[name]()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isnan(METRICS[name](observed.take(np.array([], dtype=int))))
            same = replace(observed, target=np.zeros_like(observed.target))
            assert isinstance(METRICS[name](same), float)

    def test_a_prediction_that_is_no_number_makes_it_undefined(self, name: str):
        observed = OF_METRIC[name]()
        for value in (np.nan, np.inf):
            broken = observed.prediction.copy()
            broken[3] = value
            assert np.isnan(METRICS[name](replace(observed, prediction=broken)))

    def test_better_predictions_are_better(self, name: str):
        observed = OF_METRIC[name]()
        better = replace(observed, prediction=observed.prediction * 0.4 + as_predicted(observed) * 0.6)
        gain = METRICS[name](better) - METRICS[name](observed)
        assert (gain > 0) == METRICS[name].higher_is_better
