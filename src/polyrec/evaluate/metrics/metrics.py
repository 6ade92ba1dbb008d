"""Metrics of one task by name. Undefined values (no rows, only one class, a prediction that is not finite) are NaN.

Shape letters: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polyrec.evaluate.metrics.groups import group_ndcg, pair_accuracy
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.pairs import count_wins
from polyrec.evaluate.metrics.quantiles import coverage_gap, pinball
from polyrec.evaluate.metrics.survival import concordance, uncensored_mae

BINS = 15
"""Number of bins of the expected calibration error."""


@dataclass(frozen=True)
class Metric:
    """A metric function and the direction in which it improves."""

    compute: Callable[[Observed], float]
    higher_is_better: bool

    def __call__(self, observed: Observed) -> float:
        """Return the metric, or NaN if it is undefined."""
        defined = observed.weights.sum() > 0 and np.isfinite(observed.prediction).all()
        return self.compute(observed) if defined else float("nan")


def auc(observed: Observed) -> float:
    """Area under the ROC curve: probability that a positive row is predicted above a negative one, ties counting half."""
    return _auc(observed.prediction, observed.target, observed.weights)


def gauc(observed: Observed) -> float:
    """AUC within each user, averaged over users weighted by their rows (Zhou et al., KDD 2018).

    Users whose rows are all of one class have no AUC and are excluded. GAUC evaluates the order within each user; AUC also
    compares rows of different users.
    """
    if observed.group is None:
        return float("nan")
    weight = observed.weights
    kept = weight > 0
    prediction, group, weight = observed.prediction[kept], observed.group[kept], weight[kept]
    positive = weight * observed.target[kept]
    order = np.lexsort((prediction, group))
    positive, weight = positive[order], weight[order]
    wins, positives, negatives = count_wins(group[order], prediction[order], positive, weight - positive)
    both = (positives > 0) & (negatives > 0)
    if not both.any():
        return float("nan")
    auc_of_users = wins[both] / (positives[both] * negatives[both])
    return float(np.average(auc_of_users, weights=(positives + negatives)[both]))


def log_loss(observed: Observed) -> float:
    """Mean negative log-likelihood in nats of the observed class, or of each of several labels."""
    prediction = np.clip(observed.prediction.astype(float), 1e-7, 1 - 1e-7)
    if prediction.ndim == 2 and observed.target.ndim == 1:
        return float(np.average(-np.log(prediction[np.arange(len(prediction)), observed.target]), weights=observed.weights))
    losses = -np.where(observed.target > 0, np.log(prediction), np.log1p(-prediction))
    return float(np.average(losses.reshape(len(losses), -1).mean(1), weights=observed.weights))


def ece(observed: Observed) -> float:
    """Expected calibration error: `sum_b |B_b| / N * |mean prediction - mean label|` over 15 equal bins of [0, 1].

    Naeini et al., AAAI 2015; Guo et al., ICML 2017.
    """
    bins = np.minimum((observed.prediction * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, observed.weights * (observed.prediction - observed.target), BINS)
    return float(np.abs(gap).sum() / observed.weights.sum())


def rmse(observed: Observed) -> float:
    """Root of the mean squared error, in the label's units."""
    return float(np.sqrt(np.average(np.square(observed.prediction - observed.target), weights=observed.weights)))


def mae(observed: Observed) -> float:
    """Mean absolute error, in the label's units."""
    return float(np.average(np.abs(observed.prediction - observed.target), weights=observed.weights))


def r2(observed: Observed) -> float:
    """Explained share of the variance of the labels: 0 for the mean, below 0 for worse, NaN if all labels are equal."""
    if np.ptp(observed.target[observed.weights > 0]) == 0:
        return float("nan")
    mean = np.average(observed.target, weights=observed.weights)
    return float(1 - rmse(observed) ** 2 / np.average(np.square(observed.target - mean), weights=observed.weights))


def quadratic_kappa(observed: Observed) -> float:
    """Quadratic weighted kappa (Cohen, Psychological Bulletin 1968): `1 - mean (a - y)^2 / mean (a - y')^2`.

    a is the prediction rounded to the nearest grade among the observed labels (the lower of two equally near grades), and y' is
    the label of a random other row. The distance between grades is that of their values: for grades that are not evenly spaced,
    the result differs from implementations that number the grades. 1 is perfect, 0 is chance; NaN if all labels and predictions
    are one grade.
    """
    kept = observed.weights > 0
    grades, weight = np.unique(observed.target[kept]).astype(float), observed.weights[kept]
    predicted = grades[np.searchsorted((grades[1:] + grades[:-1]) / 2, observed.prediction[kept])]
    true = observed.target[kept].astype(float)
    mean_predicted, mean_true = np.average(predicted, weights=weight), np.average(true, weights=weight)
    spread = np.average(np.square(predicted - mean_predicted) + np.square(true - mean_true), weights=weight)
    chance = spread + np.square(mean_predicted - mean_true)
    return float(1 - np.average(np.square(predicted - true), weights=weight) / chance) if len(grades) > 1 else float("nan")


def poisson_deviance(observed: Observed) -> float:
    """Mean Poisson deviance, `2 (y log(y / mu) - y + mu)`; a predicted mu below 1e-7 counts as 1e-7."""
    count, mu = observed.target.astype(float), np.maximum(observed.prediction.astype(float), 1e-7)
    surprise = count * (np.log(np.where(count > 0, count, 1)) - np.log(mu))
    return float(np.average(2 * (np.where(count > 0, surprise, 0) - count + mu), weights=observed.weights))


def accuracy(observed: Observed) -> float:
    """Share of the rows whose most probable class is the observed one."""
    return float(np.average(observed.prediction.argmax(1) == observed.target, weights=observed.weights))


def macro_f1(observed: Observed) -> float:
    """Mean over the classes, predicted or observed, of `2 TP / (2 TP + FP + FN)`."""
    classes, weight = observed.prediction.shape[1], observed.weights
    predicted, true = observed.prediction.argmax(1), observed.target.astype(int)
    hits = np.bincount(true, weight * (predicted == true), classes)
    both = np.bincount(predicted, weight, classes) + np.bincount(true, weight, classes)
    return float(np.mean(2 * hits[both > 0] / both[both > 0]))


def micro_auc(observed: Observed) -> float:
    """AUC over the pooled pairs of row and label."""
    weight = np.repeat(observed.weights, observed.target.shape[1])
    return _auc(observed.prediction.reshape(-1), observed.target.reshape(-1), weight)


def macro_auc(observed: Observed) -> float:
    """Mean AUC over the labels that have both values among the rows."""
    values = [_auc(observed.prediction[:, c], observed.target[:, c], observed.weights) for c in range(observed.target.shape[1])]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _auc(prediction: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    group = np.zeros(len(target), dtype=np.int8)
    return gauc(Observed(prediction, target, group, weight))


METRICS: dict[str, Metric] = {
    "auc": Metric(auc, True),
    "gauc": Metric(gauc, True),
    "log_loss": Metric(log_loss, False),
    "ece": Metric(ece, False),
    "rmse": Metric(rmse, False),
    "mae": Metric(mae, False),
    "r2": Metric(r2, True),
    "quadratic_kappa": Metric(quadratic_kappa, True),
    "poisson_deviance": Metric(poisson_deviance, False),
    "pinball": Metric(pinball, False),
    "coverage_gap": Metric(coverage_gap, False),
    "concordance": Metric(concordance, True),
    "uncensored_mae": Metric(uncensored_mae, False),
    "accuracy": Metric(accuracy, True),
    "macro_f1": Metric(macro_f1, True),
    "micro_auc": Metric(micro_auc, True),
    "macro_auc": Metric(macro_auc, True),
    "pair_accuracy": Metric(pair_accuracy, True),
    "group_ndcg": Metric(group_ndcg, True),
}
"""Every metric, by the name that tasks use for it."""
