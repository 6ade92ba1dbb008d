"""Temperature: divide all logits by one number. Shape letters: N rows, C classes or labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from polyrec.calibration.calibrator import Calibrator, State, logit
from polyrec.layers.sigmoid import sigmoid

_STEPS = 100


class Temperature(Calibrator):
    """`q = sigmoid(logit(p) / T)`, or `softmax(log(p) / T)` over mutually exclusive classes (Guo et al., ICML 2017).

    T is one number, the maximum-likelihood estimate over all rows, classes and labels: T > 1 corrects an overconfident model, T
    < 1 an underconfident one. The order of rows within a label and the order of classes within a row are preserved; within one
    of several exclusive classes, two rows may change order. A wrong base rate is not corrected; use `Platt` for that. Logits
    are computed from probabilities, so that the predictions of any task can be calibrated. The likelihood is concave in 1 / T;
    its maximum between `hottest` and `coldest` is found by Newton's method within a shrinking bracket. State: `temperature`,
    and `exclusive`: whether the classes are mutually exclusive.
    """

    examples = ({}, {"coldest": 0.5, "hottest": 5.0})
    several: ClassVar[bool] = True

    coldest: float = Field(default=0.01, gt=0.0, le=1.0)
    """Minimum T; the likelihood of a model that is always right has no maximum."""
    hottest: float = Field(default=100.0, ge=1.0)
    """Maximum T; the likelihood of a model that is worse than chance has no maximum."""

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
    """Return log-probabilities in double precision, with probability 0 replaced by the smallest positive float32."""
    return torch.log(prediction.contiguous().double().clamp(torch.finfo(torch.float32).tiny))


def _root(x: Tensor, y: Tensor, exclusive: bool, low: float, high: float) -> float:
    """Return the inverse temperature, in [low, high], where the gradient of the mean loss is zero."""
    inverse = 1.0
    for _ in range(_STEPS):
        q = torch.softmax(x * inverse, 1) if exclusive else sigmoid(x * inverse)
        if exclusive:
            mean_N1 = (q * x).sum(1, keepdim=True)
            slope, curvature = float(((q - y) * x).sum(1).mean()), float((q * (x - mean_N1).square()).sum(1).mean())
        else:
            slope, curvature = float(((q - y) * x).mean()), float((q * (1 - q) * x.square()).mean())
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > 0 else np.inf
        proposal = newton if low < newton < high else (low * high) ** 0.5
        if abs(proposal - inverse) <= 1e-12 * inverse or high - low <= 1e-12 * high:
            return proposal
        inverse = proposal
    return inverse
