"""PCGrad: each task's gradient, projected off those that it conflicts with. Shape letters: T tasks, H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance


class PCGrad(Balancer):
    """Gradient surgery (Yu et al., NeurIPS 2020): `g_i <- g_i - min(g_i . g_j, 0) g_j / |g_j|^2` for each j in random order.

    The step is the sum over i of what is left of g_i: `w_t >= 1`, and all are 1 where no two gradients conflict. It may still
    conflict with a task where there are three or more (see `UPGrad`). Orders are drawn by the tasks' names, unlike in other
    implementations: neither the order of declaration nor an absent task changes them.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return PCBalance(tasks)


class PCBalance(GramianBalance):
    """The sum of projected gradients; it learns nothing."""

    averages = False

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return projected(gramian_HH, random_orders(self, heard))


def random_orders(balance: Balance, heard: list[int]) -> np.ndarray:
    """Return for each of these tasks all of them in a random order, (H, H), as positions among them."""
    key_TT = torch.rand(len(balance.tasks), len(balance.tasks)).numpy()[np.ix_(balance.by_name, balance.by_name)]
    return key_TT[np.ix_(heard, heard)].argsort(1)


def projected(gramian_HH: np.ndarray, order_HH: np.ndarray) -> np.ndarray:
    """Return the weights of the sum of projected gradients, each projected in the order of its row."""
    weight_HH = np.eye(len(gramian_HH))
    for i, order_H in enumerate(order_HH):
        for j in order_H:
            product = gramian_HH[j] @ weight_HH[i]
            if j != i and product < 0:
                weight_HH[i, j] -= product / gramian_HH[j, j]
    return weight_HH.sum(0)
