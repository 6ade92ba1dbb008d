"""UPGrad: every task's gradient, first freed of conflict. Shape letters: H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import into_dual_cone


class UPGrad(Balancer):
    """Mean of the tasks' gradients, each projected on the cone of steps that worsen no task (Quinton and Rey, arXiv 2024).

    `w = (1/T) sum_t argmin v' G v over v >= e_t`: no weight is below 1 / T, and they sum to 1 where no two gradients
    conflict. Unlike PCGrad's, the step conflicts with no task however many there are. The projections are exact (active
    sets), without the solver under the GPL that the authors' package asks for and without its ridge on G.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return UPGradBalance(tasks)


class UPGradBalance(GramianBalance):
    """The mean of projections; it learns nothing."""

    averages = True

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return unconflicting(gramian_HH)


def unconflicting(gramian_HH: np.ndarray) -> np.ndarray:
    """Return the weights of the mean of the gradients' projections on the dual cone of them all."""
    return into_dual_cone(gramian_HH, np.eye(len(gramian_HH))).mean(0)
