"""What a fusion costs a task: each user's rows ordered by the fused score, beside the order by the task's own prediction.

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
    """Under the order by the task's own prediction."""
    difference: float
    """The former minus the latter: below 0 the fusion gives this task's order up for those of others."""
    low: float
    """Lower end of the difference's 95 % interval, users drawn with replacement for both orders at once; NaN without one."""
    high: float
    """Its upper end."""


def fusion_cost(
    score_N: np.ndarray,
    prediction_N: np.ndarray,
    target_N: np.ndarray,
    user_N: np.ndarray,
    ks: Sequence[int],
    resamples: int,
    seed: int,
) -> dict[str, Cost]:
    """Return the cost in `gauc` and in `ndcg@k`, both by the task's label, of ordering users' rows by the fused score.

    `gauc` is the share of a user's pairs of rows with different labels that are in order, ties half, averaged over users
    weighted by their rows: GAUC (Zhou et al., KDD 2018) where labels are 0 and 1, and the same for grades and numbers. The gain
    of `ndcg@k` is the label itself; it is averaged over users who have a label above 0. Both are NaN where no user counts, or
    where a score or prediction is no number.
    """
    names = ("gauc", *(f"ndcg@{k}" for k in ks))
    if np.isnan(score_N).any() or np.isnan(prediction_N).any():
        return dict.fromkeys(names, Cost(*[float("nan")] * 5))
    user = np.unique(user_N, return_inverse=True)[1]
    rows_U = np.bincount(user).astype(float)
    found = {}
    for name in names:
        fused_U, own_U = (_values(name, order_N, target_N, user) for order_N in (score_N, prediction_N))
        weight_U = rows_U if name == "gauc" else np.ones(len(rows_U))
        low, high = mean_interval(fused_U - own_U, resamples, seed, weight_U) if resamples else (float("nan"), float("nan"))
        fused, own = _mean(fused_U, weight_U), _mean(own_U, weight_U)
        found[name] = Cost(fused, own, fused - own, low, high)
    return found


def _values(name: str, order_N: np.ndarray, target_N: np.ndarray, user: np.ndarray) -> np.ndarray:
    if name == "gauc":
        won_U, pairs_U = pairs_in_order(order_N, target_N, user)
        return won_U / np.where(pairs_U > 0, pairs_U, np.nan)
    return ndcg_of_groups(order_N, target_N, user, int(name.removeprefix("ndcg@")))


def _mean(values_U: np.ndarray, weight_U: np.ndarray) -> float:
    is_defined_U = ~np.isnan(values_U)
    return float(np.average(values_U[is_defined_U], weights=weight_U[is_defined_U])) if is_defined_U.any() else float("nan")
