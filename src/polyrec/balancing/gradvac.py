"""GradVac: gradients drawn together until their cosines are the usual ones. Shape letters: T tasks, H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.balancing.pcgrad import random_orders

HIGHEST = 0.995
"""Highest cosine that is aimed at: a higher one would multiply rounding errors."""


class GradVac(Balancer):
    """Gradient vaccine (Wang et al., ICLR 2021): where the cosine c of two gradients is below its running mean m, add to the
    first `|g_i| (m sqrt(1 - c^2) - c sqrt(1 - m^2)) / (|g_j| sqrt(1 - m^2))` times the second, which brings it to m.

    The step is the sum over tasks: `w_t >= 1`, and all are 1 where no cosine is below its mean. PCGrad is the case m = 0. The
    means of all pairs are part of the checkpoint; orders are drawn by name as in `PCGrad`.
    """

    examples = ({}, {"rate": 0.5})

    rate: float = Field(default=0.01, ge=0, le=1)
    """Share of the newest cosine in the running mean (the paper's beta)."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return VaccineBalance(tasks, self.rate)


class VaccineBalance(GramianBalance):
    """The sum of gradients drawn together; it keeps the mean cosine of each pair."""

    averages = False
    usual_TT: Tensor

    def __init__(self, tasks: Sequence[str], rate: float) -> None:
        super().__init__(tasks)
        self.rate = rate
        self.register_buffer("usual_TT", torch.zeros(len(self.tasks), len(self.tasks)))

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        usual_TT = self.usual_TT.cpu().double().numpy()
        pairs = np.ix_(heard, heard)
        weight_H, usual_TT[pairs] = vaccinated(gramian_HH, usual_TT[pairs], self.rate, random_orders(self, heard))
        self.usual_TT.copy_(torch.from_numpy(usual_TT))
        return weight_H


def vaccinated(
    gramian_HH: np.ndarray, usual_HH: np.ndarray, rate: float, order_HH: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the sum of the gradients drawn together, and the mean cosines afterwards."""
    weight_HH, usual_HH, norm_H = np.eye(len(gramian_HH)), usual_HH.copy(), np.sqrt(np.diagonal(gramian_HH))
    for i, order_H in enumerate(order_HH):
        for j in order_H[order_H != i]:
            norm = np.sqrt(max(weight_HH[i] @ gramian_HH @ weight_HH[i], np.finfo(float).tiny))
            cosine = np.clip(gramian_HH[j] @ weight_HH[i] / (norm * norm_H[j]), -1, 1)
            goal = min(usual_HH[i, j], HIGHEST)
            if cosine < goal:
                sine, aim = np.sqrt(1 - cosine**2), np.sqrt(1 - goal**2)
                weight_HH[i, j] += norm * (goal * sine - cosine * aim) / (norm_H[j] * aim)
            usual_HH[i, j] += rate * (cosine - usual_HH[i, j])
    return weight_HH.sum(0), usual_HH
