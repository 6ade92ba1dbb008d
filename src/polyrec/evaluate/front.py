"""The Pareto front: trials that no other trial dominates, and a choice among them.

Shape letters: N trials, M objectives; for all values, higher is better.
"""

from __future__ import annotations

import numpy as np


def pareto_front(values_NM: np.ndarray) -> np.ndarray:
    """Return a mask (N,) of the non-dominated trials: a dominating one is as good in all objectives and better in one."""
    as_good_NN = (values_NM[:, None] >= values_NM[None]).all(2)
    better_NN = (values_NM[:, None] > values_NM[None]).any(2)
    dominated_N: np.ndarray = np.any(as_good_NN & better_NN, axis=0)
    return ~dominated_N


def compromise(values_NM: np.ndarray) -> int:
    """Return the trial of the front that is nearest to the point with the best value of every objective.

    Distances are Euclidean, each objective in units of its range over the front, so that no unit outweighs another (the
    compromise solution of Yu, Management Science 1973). Among equally near trials, the first is returned.
    """
    front = np.flatnonzero(pareto_front(values_NM))
    best_M, worst_M = values_NM[front].max(0), values_NM[front].min(0)
    span_M = np.where(best_M > worst_M, best_M - worst_M, 1.0)
    distance = np.linalg.norm((best_M - values_NM[front]) / span_M, axis=1)
    return int(front[distance.argmin()])
