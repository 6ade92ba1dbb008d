"""Normal intervals from influence functions, clustered by user. Shape letters: J requests, C users."""

from __future__ import annotations

import numpy as np

from polyrec.evaluate.metrics.reliability import NORMAL


def standard_error(influence_J: np.ndarray, cluster_J: np.ndarray) -> float:
    """Return `sqrt(C / (C - 1) sum_c (sum_{j in c} psi_j)^2) / J`, the standard error of the influences' mean.

    Requests of one user may depend on each other in any way; with one request a user it is the usual one.
    """
    sum_C = np.bincount(cluster_J, influence_J)
    return float(np.sqrt(len(sum_C) / (len(sum_C) - 1) * np.square(sum_C).sum()) / len(influence_J))


def normal_interval(value: float, influence_J: np.ndarray, cluster_J: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an estimate whose influence function is given."""
    half = NORMAL * standard_error(influence_J, cluster_J)
    return value - half, value + half
