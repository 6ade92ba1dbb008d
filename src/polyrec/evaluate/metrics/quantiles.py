"""Metrics of predicted quantiles. Shape letters: N rows, Q levels."""

from __future__ import annotations

import numpy as np

from polyrec.evaluate.metrics.observed import Observed


def pinball(observed: Observed) -> float:
    """Pinball loss `max(p u, (p - 1) u)` with `u = y - q_p` (Koenker and Bassett, 1978), averaged over levels."""
    error_NQ = observed.target[:, None] - observed.prediction
    level_Q = _levels(observed)
    return float(np.average(np.maximum(level_Q * error_NQ, (level_Q - 1) * error_NQ).mean(1), weights=observed.weights))


def coverage_gap(observed: Observed) -> float:
    """Mean over levels p of `|share of labels at or below the predicted quantile - p|`; 0 if calibrated."""
    share_Q = np.average(observed.target[:, None] <= observed.prediction, axis=0, weights=observed.weights)
    return float(np.abs(share_Q - _levels(observed)).mean())


def _levels(observed: Observed) -> np.ndarray:
    assert len(observed.levels) == observed.prediction.shape[1]
    return np.array(observed.levels)
