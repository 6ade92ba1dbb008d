"""PCGrad: project each task's gradient off conflicting ones. Shape letters: T tasks, A active tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance


class PCGrad(Balancer):
    """Gradient surgery (Yu et al., NeurIPS 2020): `g_i <- g_i - min(g_i . g_j, 0) g_j / |g_j|^2` for each j in random order.

    The step is the sum of the projected gradients: `w_t >= 1`, and all weights are 1 if no two gradients conflict. With three
    or more tasks it may still conflict with one of them (see `UPGrad`). Unlike in other implementations, random orders are
    assigned by task name: neither the order of declaration nor an absent task changes them.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return PCBalance(tasks)


class PCBalance(GramianBalance):
    """Sum of projected gradients, without learned state."""

    averages = False

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return projected(gramian_AA, random_orders(self, active))


def random_orders(balance: Balance, active: list[int]) -> np.ndarray:
    """Return a random order of the active tasks for each of them, (A, A), as positions among them."""
    key_TT = torch.rand(len(balance.tasks), len(balance.tasks)).numpy()[np.ix_(balance.by_name, balance.by_name)]
    return key_TT[np.ix_(active, active)].argsort(1)


def projected(gramian_AA: np.ndarray, order_AA: np.ndarray) -> np.ndarray:
    """Return the weights of the sum of projected gradients; each gradient is projected in the order of its row."""
    weight_AA = np.eye(len(gramian_AA))
    for i, order_A in enumerate(order_AA):
        for j in order_A:
            product = gramian_AA[j] @ weight_AA[i]
            if j != i and product < 0:
                weight_AA[i, j] -= product / gramian_AA[j, j]
    return weight_AA.sum(0)
