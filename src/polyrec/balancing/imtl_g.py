"""IMTLG: a step with the same projection on every task's gradient. Shape letters: H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import cosines, nonnegative


class IMTLG(Balancer):
    """Impartial weights (Liu et al., ICLR 2021): `g = sum_t w_t g_t` has equal `g . g_t / |g_t|` for all tasks; w sums to 1.

    In cosines C and norms d, `w ~ C^-1 1 / d`. Where that closed form has a negative weight, which would train the task's
    tower uphill, the weight is 0 here and the task's projection the larger: `w ~ argmin_{y >= 0} (y' C y / 2 - 1' y) / d`,
    which is also the shortest mixture of the gradients of length 1. Two opposite gradients get shares in proportion to
    1 / d, where the pseudo-inverse of other implementations returns zero.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return IMTLGBalance(tasks)


class IMTLGBalance(GramianBalance):
    """Equal projections; it learns nothing."""

    averages = True

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return impartial(gramian_HH)


def impartial(gramian_HH: np.ndarray) -> np.ndarray:
    """Return the weights, with sum 1, of the step with equal projections on the gradients of positive weight."""
    cosine_HH, norm_H = cosines(gramian_HH)
    w_H = nonnegative(cosine_HH, np.ones(len(norm_H))) / norm_H * norm_H.min()
    return w_H / w_H.sum()
