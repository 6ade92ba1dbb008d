"""Reliability: how often events predicted at, for example, 0.3 happened, in bins of equal mass.

Shape letters: N rows, C classes or labels, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyrec.evaluate.metrics.metrics import BINS, METRICS
from polyrec.evaluate.metrics.observed import Observed

NORMAL = 1.959963984540054
"""Quantile of the standard normal distribution at 0.975."""


@dataclass(frozen=True)
class Reliability:
    """Reliability curve of probabilities, lowest bin first; for calibrated ones, prediction and label agree in every bin."""

    prediction_B: np.ndarray
    """Mean prediction."""
    label_B: np.ndarray
    """Share of the rows in which the event happened."""
    count_B: np.ndarray
    """Number of rows."""
    low_B: np.ndarray
    """Lower end of the 95 % interval of that share, for independent rows (Wilson, JASA 1927)."""
    high_B: np.ndarray
    """Upper end of the interval."""

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return {
            "prediction": self.prediction_B.tolist(),
            "label": self.label_B.tolist(),
            "count": self.count_B.tolist(),
            "low": self.low_B.tolist(),
            "high": self.high_B.tolist(),
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Reliability:
        """Return the curve from the JSON values of `to_dict`."""
        return cls(*(np.asarray(document[name]) for name in ("prediction", "label", "count", "low", "high")))


def reliability(prediction: np.ndarray, target: np.ndarray, bins: int = BINS) -> Reliability:
    """Return the curve over bins with numbers of rows as equal as possible; rows of equal prediction share a bin.

    Bins of equal mass follow the distribution of the rows. With bins of equal width, as in the expected calibration error of
    the literature, most bins are empty if an event is rare (Nixon et al., CVPR workshops 2019). `pairs` converts predictions of
    several classes.
    """
    p_N, y_N = pairs(prediction, target)
    order = np.argsort(p_N, kind="stable")
    p_N, y_N = p_N[order], y_N[order]
    edges = p_N[np.arange(bins) * len(p_N) // bins] if len(p_N) else p_N
    starts_B = np.unique(np.searchsorted(p_N, edges, side="left"))
    count_B = np.diff(np.r_[starts_B, len(p_N)])
    prediction_B, label_B = (np.add.reduceat(x, starts_B) / count_B if len(x) else x for x in (p_N, y_N))
    return Reliability(prediction_B, label_B, count_B, *wilson(label_B, count_B))


def calibration_error(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the expected calibration error (`ece`); `pairs` converts predictions of several classes."""
    return METRICS["ece"](Observed(*pairs(prediction, target)))


def pairs(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return single probabilities (N,) and whether each event happened, (N,) of 0 and 1.

    For exclusive classes, (N, C) with class numbers (N,): the probability of the most probable class, and whether it is correct
    (Guo et al., ICML 2017). For several labels, (N, C) twice: every label of every row.
    """
    if prediction.ndim == 2 and target.ndim == 1:
        return prediction.max(1).astype(float), (prediction.argmax(1) == target).astype(float)
    return prediction.reshape(-1).astype(float), target.reshape(-1).astype(float)


def wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share of `count` rows; unlike the normal interval, it stays in [0, 1] and has width."""
    square = NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
