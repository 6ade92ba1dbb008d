"""Temperature: all logits over one number. Shape letters: N rows, C classes or labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from polyrec.calibration.calibrator import Calibrator, State, logit, sigmoid

_STEPS = 100


class Temperature(Calibrator):
    """`q = sigmoid(logit(p) / T)`, or `softmax(log(p) / T)` over classes that exclude each other (Guo et al., ICML 2017).

    One number T of the greatest likelihood on all rows, classes and labels: it says by how much a model is too sure (T > 1)
    or not sure enough (T < 1). Rows keep their order in a single probability or label, and classes theirs within a row; in a
    class that excludes others two rows may change places. It cannot mend a wrong overall rate; `Platt` can. The logits are
    read back from the probabilities, so that it works on what any task predicts. The likelihood is concave in 1 / T, and its
    peak between `hottest` and `coldest` is found by Newton's method within a shrinking bracket. State: `temperature`, and
    `exclusive`: whether the classes exclude each other.
    """

    examples = ({}, {"coldest": 0.5, "hottest": 5.0})
    several: ClassVar[bool] = True

    coldest: float = Field(default=0.01, gt=0.0, le=1.0)
    """Lowest T; a model that is always right has no best one."""
    hottest: float = Field(default=100.0, ge=1.0)
    """Highest T; a model that is worse than chance has no best one."""

    def fit(self, prediction: np.ndarray, target: np.ndarray) -> State:
        exclusive = prediction.ndim == 2 and target.ndim == 1
        p, y = torch.from_numpy(prediction), torch.from_numpy(target)
        x = _logarithm(p) if exclusive else logit(p).reshape(-1)
        y = torch.nn.functional.one_hot(y.long(), p.shape[1]) if exclusive else y.reshape(-1)
        inverse = _root(x, y.double(), exclusive, 1 / self.hottest, 1 / self.coldest)
        return pl.DataFrame({"temperature": [1 / inverse], "exclusive": [exclusive]})

    def apply(self, prediction: Tensor, state: State) -> Tensor:
        temperature: float = state["temperature"][0]
        if state["exclusive"][0]:
            return torch.softmax(_logarithm(prediction) / temperature, 1).to(prediction.dtype)
        return sigmoid(logit(prediction) / temperature).to(prediction.dtype)


def _logarithm(prediction: Tensor) -> Tensor:
    """Return the log-probabilities in double precision; a class of probability 0 has that of the smallest number."""
    return torch.log(prediction.contiguous().double().clamp(torch.finfo(torch.float32).tiny))


def _root(x: Tensor, y: Tensor, exclusive: bool, low: float, high: float) -> float:
    """Return the inverse temperature, in [low, high], where the slope of the mean loss crosses zero."""
    found = 1.0
    for _ in range(_STEPS):
        q = torch.softmax(x * found, 1) if exclusive else sigmoid(x * found)
        if exclusive:
            mean_N1 = (q * x).sum(1, keepdim=True)
            slope, curvature = float(((q - y) * x).sum(1).mean()), float((q * (x - mean_N1).square()).sum(1).mean())
        else:
            slope, curvature = float(((q - y) * x).mean()), float((q * (1 - q) * x.square()).mean())
        low, high = (found, high) if slope < 0 else (low, found)
        target = found - slope / curvature if curvature > 0 else np.inf
        moved = target if low < target < high else (low * high) ** 0.5
        if abs(moved - found) <= 1e-12 * found or high - low <= 1e-12 * high:
            return moved
        found = moved
    return found
