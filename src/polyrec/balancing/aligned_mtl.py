"""AlignedMTL: rotate and scale the task gradients until they are orthogonal and equally long. Shape letters: A active tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import NOISE


class AlignedMTL(Balancer):
    """Mean of the aligned gradients `B J`, `B = sigma V S^-1 V'` for `G = V S^2 V'` (Senushkin et al., CVPR 2023).

    The aligned gradients are the nearest ones with equal singular values sigma. The weights are `w = B 1 / T`; their sum is not
    fixed. If gradients are linearly dependent, B acts as the identity on the combinations that cancel: this changes no step but
    keeps towers learning. A negative weight, which would train a tower uphill, is set to 0.
    """

    examples = ({}, {"scale": "rmse"})

    scale: Literal["min", "median", "rmse"] = "min"
    """Common singular value: the minimum (as in the paper; steps shrink as gradients align), the median or the root mean
    square."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return AlignedBalance(tasks, self.scale)


class AlignedBalance(GramianBalance):
    """Mean of the aligned gradients, without learned state."""

    averages = True

    def __init__(self, tasks: Sequence[str], scale: Literal["min", "median", "rmse"]) -> None:
        super().__init__(tasks)
        self.scale = scale

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return alignment(gramian_AA, self.scale).mean(1).clip(0)


def alignment(gramian_AA: np.ndarray, scale: Literal["min", "median", "rmse"]) -> np.ndarray:
    """Return B (A, A), symmetric, such that all nonzero eigenvalues of `B G B` are equal."""
    values_A, vectors_AA = np.linalg.eigh((gramian_AA + gramian_AA.T) / 2)
    is_positive_A = values_A > NOISE * values_A.max()
    positive = values_A[is_positive_A]
    sigma = np.sqrt({"min": positive[0], "median": positive[(len(positive) - 1) // 2], "rmse": positive.mean()}[scale])
    stretch_A = np.ones(len(values_A))
    stretch_A[is_positive_A] = sigma / np.sqrt(positive)
    return (vectors_AA * stretch_A) @ vectors_AA.T
