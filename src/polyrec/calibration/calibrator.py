"""`Calibrator`: map predicted probabilities to observed frequencies.

Shape letters: N rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.core.spec import Family

State = pl.DataFrame
"""Learned parameters of a calibrator: a frame whose columns each kind documents."""

_SMALLEST = 1e-12
"""Probabilities are clipped to this distance from 0 and 1 before a logarithm; only those that float32 rounds to 1 change."""


class Calibrator(Family, family="calibrators"):
    """Map from predicted to calibrated probabilities: of the rows predicted at 0.3, three in ten are positive.

    For a single probability, or one of several labels, the map is non-decreasing. It may create ties, which can reduce the AUC,
    but never inverts two rows. For mutually exclusive classes it may invert rows, because their probabilities sum to one. The
    result for a row does not depend on the other rows, bit for bit.
    """

    several: ClassVar[bool] = False
    """Whether several classes or labels (N, C) can be calibrated, in addition to one probability per row (N,)."""

    def fit(self, prediction: np.ndarray, target: np.ndarray) -> State:
        """Learn the map from predicted probabilities, (N,) or (N, C), and observed targets.

        Targets are (N,) of 0 and 1 for one probability per row; for several, (N,) class numbers or (N, C) of 0 and 1. The rows
        must be held out from training and contain at least two different targets.
        """
        raise NotImplementedError

    def apply(self, prediction: Tensor, state: State) -> Tensor:
        """Return the calibrated probabilities, with the shape and dtype of `prediction`."""
        raise NotImplementedError


def logit(prediction: Tensor) -> Tensor:
    """Return `log p - log(1 - p)` in double precision."""
    clipped = prediction.contiguous().double().clamp(_SMALLEST, 1 - _SMALLEST)
    return torch.log(clipped) - torch.log1p(-clipped)


def calibrated(
    calibration: Mapping[str, Calibrator], states: Mapping[str, pl.DataFrame], predictions: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the predictions, those of the calibrated tasks as their calibrators leave them."""
    return {
        name: calibration[name].apply(value, states[name]) if name in states else value for name, value in predictions.items()
    }
