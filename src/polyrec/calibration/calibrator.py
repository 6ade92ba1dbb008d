"""`Calibrator`: how a task's predictions become probabilities that mean what they say.

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
"""What a calibrator learned: a frame whose columns each kind documents."""

_SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1 before a logarithm; only those that single precision rounds to 1 are moved."""


class Calibrator(Family, family="calibrators"):
    """A map from a task's predicted probabilities to calibrated ones: of the rows at 0.3, three in ten come true.

    Of a single probability, or of one of several labels, the map never turns the order of two rows round, though it may make
    them equal: in the AUC it can cost ties, not order. Of classes that exclude each other it may, for their sum stays one.
    It is a function of a row alone and gives the same bits whatever rows stand beside it.
    """

    several: ClassVar[bool] = False
    """Whether predictions of several classes or labels (N, C) can be calibrated, not only one probability a row (N,)."""

    def fit(self, prediction: np.ndarray, target: np.ndarray) -> State:
        """Learn the map from probabilities, (N,) or (N, C), and what came true.

        Targets are (N,) of 0 and 1 for one probability a row; for several, (N,) class numbers or (N, C) of 0 and 1. They must
        be rows that the model did not learn from, and at least two different targets among them.
        """
        raise NotImplementedError

    def apply(self, prediction: Tensor, state: State) -> Tensor:
        """Return the calibrated probabilities, in the shape and type of `prediction`."""
        raise NotImplementedError


def logit(prediction: Tensor) -> Tensor:
    """Return `log p - log(1 - p)` in double precision."""
    kept = prediction.contiguous().double().clamp(_SMALLEST, 1 - _SMALLEST)
    return torch.log(kept) - torch.log1p(-kept)


def sigmoid(logits: Tensor) -> Tensor:
    """Return `1 / (1 + exp(-x))`.

    `torch.sigmoid` gives an element other last bits at the end of a tensor than within it; `torch.exp` does not.
    """
    return 1 / (1 + torch.exp(-logits))


def calibrated(
    calibration: Mapping[str, Calibrator], states: Mapping[str, pl.DataFrame], predictions: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the predictions, those of the calibrated tasks as their calibrators leave them."""
    return {
        name: calibration[name].apply(value, states[name]) if name in states else value for name, value in predictions.items()
    }
