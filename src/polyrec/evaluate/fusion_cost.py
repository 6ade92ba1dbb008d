"""Cost of a fusion for a task: metrics of each user's rows ordered by the fused score, and by the task's prediction.

Shape letters: N rows, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyrec.evaluate.bootstrap import mean_interval
from polyrec.evaluate.metrics.groups import ndcg_of_groups, pairs_in_order


@dataclass(frozen=True)
class Cost:
    """One metric of a task's label under two orders of the same rows."""

    fused: float
    """Under the order by the fused score."""
    own: float
    """Under the order by the task's prediction."""
    difference: float
    """`fused - own`: below 0, the fusion sacrifices the order of this task to those of other tasks."""
    low: float
    """Lower end of the 95 % bootstrap interval of the difference, both orders on the same resampled users; NaN without one."""
    high: float
    """Upper end of the interval."""


def fusion_cost(
    score_N: np.ndarray,
    prediction_N: np.ndarray,
    target_N: np.ndarray,
    user_N: np.ndarray,
    ks: Sequence[int],
    resamples: int,
    seed: int,
) -> dict[str, Cost]:
    """Return the cost of ordering each user's rows by the fused score, in `gauc` and `ndcg@k` of the task's label.

    `gauc` is the share of a user's pairs of rows with different labels that are in order, ties counting half, averaged over
    users weighted by their rows: GAUC (Zhou et al., KDD 2018) for labels 0 and 1, and its analogue for grades and numbers. The
    gain of `ndcg@k` is the label itself; the mean is over users with a label above 0. Both are NaN if no user counts, or if a
    score or prediction is NaN.
    """
    names = ("gauc", *(f"ndcg@{k}" for k in ks))
    if np.isnan(score_N).any() or np.isnan(prediction_N).any():
        return dict.fromkeys(names, Cost(*[float("nan")] * 5))
    user = np.unique(user_N, return_inverse=True)[1]
    rows_U = np.bincount(user).astype(float)
    costs = {}
    for name in names:
        fused_U, predicted_U = (_values(name, order_N, target_N, user) for order_N in (score_N, prediction_N))
        weight_U = rows_U if name == "gauc" else np.ones(len(rows_U))
        difference_U = fused_U - predicted_U
        low, high = mean_interval(difference_U, resamples, seed, weight_U) if resamples else (float("nan"), float("nan"))
        fused, predicted = _mean(fused_U, weight_U), _mean(predicted_U, weight_U)
        costs[name] = Cost(fused, predicted, fused - predicted, low, high)
    return costs


def _values(name: str, order_N: np.ndarray, target_N: np.ndarray, user: np.ndarray) -> np.ndarray:
    if name == "gauc":
        won_U, pairs_U = pairs_in_order(order_N, target_N, user)
        return won_U / np.where(pairs_U > 0, pairs_U, np.nan)
    return ndcg_of_groups(order_N, target_N, user, int(name.removeprefix("ndcg@")))


def _mean(values_U: np.ndarray, weight_U: np.ndarray) -> float:
    is_defined_U = ~np.isnan(values_U)
    return float(np.average(values_U[is_defined_U], weights=weight_U[is_defined_U])) if is_defined_U.any() else float("nan")
