"""Reliability: how often what was predicted at 0.3 came true, in bins of equal mass.

Shape letters: N rows, C classes or labels, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyrec.evaluate.metrics.metrics import BINS, METRICS
from polyrec.evaluate.metrics.observed import Observed

NORMAL = 1.959963984540054
"""The normal distribution's quantile at 0.975."""


@dataclass(frozen=True)
class Reliability:
    """The reliability curve of probabilities, lowest bin first: calibrated, prediction and label agree in every bin."""

    prediction_B: np.ndarray
    """Mean prediction."""
    label_B: np.ndarray
    """Share of the rows that came true."""
    count_B: np.ndarray
    """Rows."""
    low_B: np.ndarray
    """Lower end of the 95 % interval of that share, as if rows were independent (Wilson, JASA 1927)."""
    high_B: np.ndarray
    """Its upper end."""

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
    def from_dict(cls, told: dict[str, Any]) -> Reliability:
        """Return the curve that `to_dict` told."""
        return cls(*(np.asarray(told[name]) for name in ("prediction", "label", "count", "low", "high")))


def reliability(prediction: np.ndarray, target: np.ndarray, bins: int = BINS) -> Reliability:
    """Return the curve over bins that hold as equal numbers of rows as may be, rows of one prediction staying together.

    Bins of equal mass tell where the rows are; bins of equal width, which the expected calibration error of the literature
    uses, leave most of them empty where an event is rare (Nixon et al., CVPR workshops 2019). Predictions of several classes
    are read as `pairs` says.
    """
    p_N, y_N = pairs(prediction, target)
    order = np.argsort(p_N, kind="stable")
    p_N, y_N = p_N[order], y_N[order]
    asked = p_N[np.arange(bins) * len(p_N) // bins] if len(p_N) else p_N
    starts_B = np.unique(np.searchsorted(p_N, asked, side="left"))
    count_B = np.diff(np.r_[starts_B, len(p_N)])
    prediction_B, label_B = (np.add.reduceat(x, starts_B) / count_B if len(x) else x for x in (p_N, y_N))
    return Reliability(prediction_B, label_B, count_B, *wilson(label_B, count_B))


def calibration_error(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the expected calibration error (`ece`), predictions of several classes being read as `pairs` says."""
    return METRICS["ece"](Observed(*pairs(prediction, target)))


def pairs(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return single probabilities (N,) and whether each came true, (N,) of 0 and 1.

    Of classes that exclude each other, (N, C) with class numbers (N,): the probability of the most probable one, and whether
    it was right (Guo et al., ICML 2017). Of several labels, (N, C) twice: every label of every row.
    """
    if prediction.ndim == 2 and target.ndim == 1:
        return prediction.max(1).astype(float), (prediction.argmax(1) == target).astype(float)
    return prediction.reshape(-1).astype(float), target.reshape(-1).astype(float)


def wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share seen in `count` rows: unlike the normal one it stays within [0, 1] and has width."""
    square = NORMAL**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL / (1 + square / count) * np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
