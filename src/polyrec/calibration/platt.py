"""Platt: sigmoid of an affine map of the logit. Shape letters: N rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.calibration.calibrator import Calibrator, State, logit
from polyrec.layers.sigmoid import sigmoid

_STEPS = 100
_RIDGE = 1e-12
"""Constant added to the Hessian, which vanishes if all predictions are equal (Lin et al., Machine Learning 2007)."""


class Platt(Calibrator):
    """`q = sigmoid(a * logit(p) + b)` with the maximum-likelihood a and b (Platt, Advances in Large Margin Classifiers 1999).

    Targets are smoothed as in Platt: `(N1 + 1) / (N1 + 2)` for the N1 positives and `1 / (N0 + 2)` for the N0 negatives, so
    that the fit exists for separable classes too. The fit uses Newton's method with step halving (Lin et al., Machine Learning
    2007). The input is the logit, not the probability, so that a calibrated model is unchanged (a = 1, b = 0). The slope a is
    kept at 0 or above; other implementations may invert the order. State: `slope`, `shift`.
    """

    examples = ({}, {"smoothing": False})

    smoothing: bool = True
    """Set `smoothing` if targets are smoothed."""

    def fit(self, prediction: np.ndarray, target: np.ndarray) -> State:
        assert prediction.ndim == 1 and prediction.shape == target.shape
        x_N, ones = logit(torch.from_numpy(prediction)), float(target.sum())
        low, high = (1 / (len(target) - ones + 2), (ones + 1) / (ones + 2)) if self.smoothing else (0.0, 1.0)
        y_N = torch.from_numpy(np.where(target > 0, high, low))
        slope, shift = _newton(torch.stack([x_N, torch.ones_like(x_N)], 1), y_N, torch.tensor([1.0, 0.0]).double())
        if slope < 0:
            slope, shift = 0.0, float(torch.logit(y_N.mean()))
        return pl.DataFrame({"slope": [slope], "shift": [shift]})

    def apply(self, prediction: Tensor, state: State) -> Tensor:
        return sigmoid(logit(prediction) * state["slope"][0] + state["shift"][0]).to(prediction.dtype)


def _newton(x_N2: Tensor, y_N: Tensor, start_2: Tensor) -> tuple[float, float]:
    """Return the two coefficients of a logistic regression on soft targets."""

    def loss(coefficients: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(x_N2 @ coefficients, y_N)

    coefficients_2, best = start_2, loss(start_2)
    for _ in range(_STEPS):
        q_N = sigmoid(x_N2 @ coefficients_2)
        gradient_2 = x_N2.T @ (q_N - y_N) / len(y_N)
        hessian_22 = (x_N2 * (q_N * (1 - q_N))[:, None]).T @ x_N2 / len(y_N) + _RIDGE * torch.eye(2).double()
        step_2 = torch.linalg.solve(hessian_22, gradient_2)
        share = 1.0
        while share > 1e-10 and not loss(coefficients_2 - share * step_2) <= best * (1 + 1e-12):
            share /= 2
        coefficients_2 = coefficients_2 - share * step_2
        best = loss(coefficients_2)
        if float((share * step_2).abs().max()) < 1e-10:
            break
    return float(coefficients_2[0]), float(coefficients_2[1])
