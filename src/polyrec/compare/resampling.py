"""A metric on bootstrap resamples of the test users; parts that do not depend on the resample are computed once.

Shape letters: N rows, R resamples, P pairs of row and label.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polyrec.evaluate.bootstrap import multiplicities
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.pairs import count_wins


def draw_users(group: np.ndarray | None, rows: int, resamples: int) -> np.ndarray:
    """Return the multiplicity of each row in each resample, (R, N); the same for every model."""
    if rows == 0:
        return np.zeros((resamples, 0), dtype=np.int32)
    return np.stack(list(multiplicities(group, rows, resamples, seed=0))).astype(np.int32)


def resample(metric: str, observed: Observed, draws_RN: np.ndarray) -> np.ndarray:
    """Return `METRICS[metric](observed.weighted(draw))` for each resample, (R,), without repeated sorting.

    All rows of a group must have the same multiplicity within a draw.
    """
    if not len(observed.target) or not np.isfinite(observed.prediction).all():
        return np.full(len(draws_RN), np.nan)
    compute = _prepare(metric, observed)
    return np.array([compute(draw_N) for draw_N in draws_RN])


def _prepare(metric: str, observed: Observed) -> Callable[[np.ndarray], float]:
    """Return the metric as a function of the rows' weights."""
    prediction, target, rows_N = observed.prediction, observed.target, np.arange(len(observed.target))
    if metric == "auc":
        return _auc(prediction, target, rows_N)
    if metric == "micro_auc":
        return _auc(prediction.reshape(-1), target.reshape(-1), np.repeat(rows_N, target.shape[1]))
    if metric == "macro_auc":
        aucs = [_auc(scores, label, rows_N) for scores, label in zip(prediction.T, target.T, strict=True)]
        return lambda weight_N: _mean_of_defined([auc(weight_N) for auc in aucs])
    if metric == "gauc" and observed.group is not None:
        return _gauc(observed, observed.group)
    return lambda weight_N: METRICS[metric](observed.weighted(weight_N))


def _auc(prediction_P: np.ndarray, target_P: np.ndarray, row_P: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return the AUC, in which ties count half, as a function of the weights; pairs are sorted once, in advance."""
    order_P = np.argsort(prediction_P)
    ordered, row_P, is_negative_P = prediction_P[order_P], row_P[order_P], target_P[order_P] <= 0
    positive = np.flatnonzero(~is_negative_P)
    start = np.searchsorted(ordered, ordered[positive], side="left")
    end = np.searchsorted(ordered, ordered[positive], side="right")
    positive_row = row_P[positive]

    def compute(weight_N: np.ndarray) -> float:
        negatives_below = np.concatenate([[0.0], np.cumsum(weight_N[row_P] * is_negative_P, dtype=float)])
        weight = weight_N[positive_row].astype(float)
        pairs = weight.sum() * negatives_below[-1]
        wins = weight @ (negatives_below[start] + negatives_below[end]) / 2
        return float(wins / pairs) if pairs > 0 else float("nan")

    return compute


def _gauc(observed: Observed, group_N: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return the mean AUC per user; a resample changes the weights of users but not their AUCs."""
    order_N = np.lexsort((observed.prediction, group_N))
    group, positive = group_N[order_N], observed.target[order_N].astype(float)
    wins, positives, negatives = count_wins(group, observed.prediction[order_N], positive, 1 - positive)
    both = (positives > 0) & (negatives > 0)
    aucs = wins[both] / (positives[both] * negatives[both])
    rows = (positives + negatives)[both]
    first = order_N[np.flatnonzero(np.diff(group, prepend=group[0] - 1))][both]

    def compute(weight_N: np.ndarray) -> float:
        weight = rows * weight_N[first]
        return float(weight @ aucs / weight.sum()) if weight.sum() > 0 else float("nan")

    return compute


def _mean_of_defined(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
