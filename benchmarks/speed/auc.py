"""AUC by ranks. Needs only numpy, which every environment has."""

from __future__ import annotations

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the probability that a positive is scored above a negative, ties counting half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = labels > 0.5
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses)) if hits and misses else float("nan")


def mean_auc(labels_NT: np.ndarray, scores_NT: np.ndarray) -> float:
    """Return the mean AUC over tasks."""
    return float(np.mean([auc(labels_NT[:, task], scores_NT[:, task]) for task in range(labels_NT.shape[1])]))
