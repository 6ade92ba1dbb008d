"""MGDA: the shortest mixture of the tasks' gradients. Shape letters: H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import smallest_mixture


class MGDA(Balancer):
    """`w = argmin |sum_t w_t g_t|^2` over weights w >= 0 that sum to 1 (Désidéri, Comptes Rendus Mathématique 2012;
    Sener and Koltun, NeurIPS 2018).

    Its step improves every task by the same amount, those of weight 0 by more, and vanishes where no step improves all: it
    follows the task of the smallest gradient. The minimum is exact (active sets) where others stop Frank-Wolfe early,
    and a task whose gradient is zero does not stop the rest.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return MGDABalance(tasks)


class MGDABalance(GramianBalance):
    """The minimum-norm point; it learns nothing."""

    averages = True

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return smallest_mixture(gramian_HH)
