"""UPGrad: mean of the task gradients after removing conflicts from each. Shape letters: A active tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import into_dual_cone


class UPGrad(Balancer):
    """Mean of the task gradients, each projected on the cone of steps that worsen no task (Quinton and Rey, arXiv 2024).

    `w = (1/T) sum_t argmin v' G v over v >= e_t`: no weight is below 1 / T, and they sum to 1 if no two gradients conflict.
    Unlike with PCGrad, the step conflicts with no task, for any number of tasks. The projections are exact (active sets): they
    need neither the GPL solver that the authors' package requires nor its ridge on G.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return UPGradBalance(tasks)


class UPGradBalance(GramianBalance):
    """Mean of projections, without learned state."""

    averages = True

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return unconflicting(gramian_AA)


def unconflicting(gramian_AA: np.ndarray) -> np.ndarray:
    """Return the weights of the mean of the gradients' projections on their dual cone."""
    return into_dual_cone(gramian_AA, np.eye(len(gramian_AA))).mean(0)
