"""IMTLG: step with equal projections on all task gradients. Shape letters: A active tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import cosines, nonnegative


class IMTLG(Balancer):
    """Impartial weights (Liu et al., ICLR 2021): `g = sum_t w_t g_t` has equal `g . g_t / |g_t|` for all tasks; w sums to 1.

    With cosines C and norms d, `w ~ C^-1 1 / d`. If this closed form has a negative weight, which would train the task's tower
    uphill, the weight is set to 0 here and the task's projection is larger: `w ~ argmin_{y >= 0} (y' C y / 2 - 1' y) / d`. This
    is also the shortest mixture of the gradients normalised to length 1. Two opposite gradients get weights proportional to 1 /
    d; the pseudo-inverse of other implementations returns zero.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return IMTLGBalance(tasks)


class IMTLGBalance(GramianBalance):
    """Equal projections, without learned state."""

    averages = True

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return impartial(gramian_AA)


def impartial(gramian_AA: np.ndarray) -> np.ndarray:
    """Return the weights, with sum 1, of the step with equal projections on the gradients of positive weight."""
    cosine_AA, norm_A = cosines(gramian_AA)
    w_A = nonnegative(cosine_AA, np.ones(len(norm_A))) / norm_A * norm_A.min()
    return w_A / w_A.sum()
