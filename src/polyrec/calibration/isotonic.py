"""Isotonic: best non-decreasing map. Shape letters: N rows, U distinct predictions, K blocks."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from polyrec.calibration.calibrator import Calibrator, State


class Isotonic(Calibrator):
    """Non-decreasing map with the least squared error, `min_f sum_n (y_n - f(p_n))^2`, by pooling adjacent violators.

    Ayer et al., Annals of Mathematical Statistics 1955, for calibration by Zadrozny and Elkan, KDD 2002. The map has no
    parametric form, so it needs many rows: with fewer than a thousand, prefer `Platt`. It is constant within a block of pooled
    rows and linear between the edges of adjacent blocks, as in scikit-learn; it is not a step function. Predictions outside the
    range seen in fitting get the value at its nearest end. All predictions of a block become equal, so ties arise. State:
    `prediction` and `calibrated`, the corners of the map, both sorted.
    """

    examples = ({}, {"lowest": 0.001, "highest": 0.999})

    lowest: float = Field(default=0.0, ge=0.0, le=0.5)
    """Minimum calibrated probability; without it, a block of rows without a positive would get the probability 0."""
    highest: float = Field(default=1.0, ge=0.5, le=1.0)
    """Maximum calibrated probability."""

    def fit(self, prediction: np.ndarray, target: np.ndarray) -> State:
        assert prediction.ndim == 1 and prediction.shape == target.shape
        distinct_U, place_N, count_U = np.unique(prediction.astype(float), return_inverse=True, return_counts=True)
        mean_U = np.bincount(place_N, target.astype(float)) / count_U
        starts_K, mean_K = pool_adjacent_violators(mean_U, count_U.astype(float))
        ends_K = np.r_[starts_K[1:], len(distinct_U)] - 1
        corners = np.unique(np.r_[starts_K, ends_K])
        block = np.searchsorted(starts_K, corners, side="right") - 1
        calibrated = np.clip(mean_K[block], self.lowest, self.highest)
        return pl.DataFrame({"prediction": distinct_U[corners], "calibrated": calibrated})

    def apply(self, prediction: Tensor, state: State) -> Tensor:
        x_K, y_K = state["prediction"].to_torch(), state["calibrated"].to_torch()
        if len(x_K) == 1:
            return prediction * 0 + float(y_K[0])
        clipped = prediction.contiguous().double().clamp(x_K[0], x_K[-1])
        right = torch.searchsorted(x_K, clipped, right=True).clamp(1, len(x_K) - 1)
        left_x, left_y = x_K[right - 1], y_K[right - 1]
        share = (clipped - left_x) / (x_K[right] - left_x)
        return torch.minimum(left_y + share * (y_K[right] - left_y), y_K[right]).to(prediction.dtype)


def pool_adjacent_violators(mean_U: np.ndarray, weight_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the start of each block of the best non-decreasing fit, and its weighted mean.

    Every pass pools all non-increasing runs of neighbours, until the means increase strictly. This takes few passes; the
    classic algorithm moves by one element per pass.
    """
    starts_K, mean_K, weight_K = np.arange(len(mean_U)), mean_U, weight_U
    while True:
        heads = np.flatnonzero(np.r_[True, mean_K[1:] > mean_K[:-1]])
        if len(heads) == len(mean_K):
            return starts_K, mean_K
        total = np.add.reduceat(mean_K * weight_K, heads)
        weight_K = np.add.reduceat(weight_K, heads)
        starts_K, mean_K = starts_K[heads], total / weight_K
