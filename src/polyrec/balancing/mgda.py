"""MGDA: shortest convex combination of the task gradients. Shape letters: A active tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import smallest_mixture


class MGDA(Balancer):
    """`w = argmin |sum_t w_t g_t|^2` over weights w >= 0 that sum to 1 (Désidéri, Comptes Rendus Mathématique 2012; Sener and
    Koltun, NeurIPS 2018).

    The step improves every task by the same amount (tasks of weight 0 by more) and vanishes if no step improves all tasks. It
    is dominated by the task with the smallest gradient. The minimum is exact (active sets); other implementations stop
    Frank-Wolfe early. A task with a zero gradient does not stop the others.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return MGDABalance(tasks)


class MGDABalance(GramianBalance):
    """Minimum-norm point, without learned state."""

    averages = True

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return smallest_mixture(gramian_AA)
