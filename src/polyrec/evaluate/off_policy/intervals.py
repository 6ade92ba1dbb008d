"""Normal intervals from influence functions, clustered by user. Shape letters: J requests, C users."""

from __future__ import annotations

import numpy as np

from polyrec.evaluate.metrics.reliability import NORMAL


def standard_error(influence_J: np.ndarray, cluster_J: np.ndarray) -> float:
    """Return `sqrt(C / (C - 1) sum_c (sum_{j in c} psi_j)^2) / J`, the standard error of the mean influence.

    Requests of one user may be arbitrarily dependent. With one request per user, it is the usual standard error.
    """
    sum_C = np.bincount(cluster_J, influence_J)
    return float(np.sqrt(len(sum_C) / (len(sum_C) - 1) * np.square(sum_C).sum()) / len(influence_J))


def normal_interval(value: float, influence_J: np.ndarray, cluster_J: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of an estimate with the given influence function."""
    half = NORMAL * standard_error(influence_J, cluster_J)
    return value - half, value + half
