"""GradVac: align gradients whose cosine is below its running mean. Shape letters: T tasks, A active tasks."""

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
"""Highest target cosine; a higher one would amplify rounding errors."""


class GradVac(Balancer):
    """Gradient vaccine (Wang et al., ICLR 2021): if the cosine c of two gradients is below its running mean m, add to the first
    `|g_i| (m sqrt(1 - c^2) - c sqrt(1 - m^2)) / (|g_j| sqrt(1 - m^2))` times the second, which raises the cosine to m.

    The step is the sum over tasks: `w_t >= 1`, and all weights are 1 if no cosine is below its mean. PCGrad is the case m = 0.
    The means of all pairs are part of the checkpoint; random orders are assigned by task name as in `PCGrad`.
    """

    examples = ({}, {"rate": 0.5})

    rate: float = Field(default=0.01, ge=0, le=1)
    """Weight of the newest cosine in the running mean (beta in the paper)."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return VaccineBalance(tasks, self.rate)


class VaccineBalance(GramianBalance):
    """Sum of the aligned gradients, with the running mean cosine of each pair."""

    averages = False
    usual_TT: Tensor

    def __init__(self, tasks: Sequence[str], rate: float) -> None:
        super().__init__(tasks)
        self.rate = rate
        self.register_buffer("usual_TT", torch.zeros(len(self.tasks), len(self.tasks)))

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        usual_TT = self.usual_TT.cpu().double().numpy()
        pairs = np.ix_(active, active)
        weight_A, usual_TT[pairs] = vaccinated(gramian_AA, usual_TT[pairs], self.rate, random_orders(self, active))
        self.usual_TT.copy_(torch.from_numpy(usual_TT))
        return weight_A


def vaccinated(
    gramian_AA: np.ndarray, usual_AA: np.ndarray, rate: float, order_AA: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the sum of aligned gradients, and the updated mean cosines."""
    weight_AA, usual_AA, norm_A = np.eye(len(gramian_AA)), usual_AA.copy(), np.sqrt(np.diagonal(gramian_AA))
    for i, order_A in enumerate(order_AA):
        for j in order_A[order_A != i]:
            norm = np.sqrt(max(weight_AA[i] @ gramian_AA @ weight_AA[i], np.finfo(float).tiny))
            cosine = np.clip(gramian_AA[j] @ weight_AA[i] / (norm * norm_A[j]), -1, 1)
            goal = min(usual_AA[i, j], HIGHEST)
            if cosine < goal:
                sine, aim = np.sqrt(1 - cosine**2), np.sqrt(1 - goal**2)
                weight_AA[i, j] += norm * (goal * sine - cosine * aim) / (norm_A[j] * aim)
            usual_AA[i, j] += rate * (cosine - usual_AA[i, j])
    return weight_AA.sum(0), usual_AA
