"""NashMTL: bargaining of the tasks for the step. Shape letters: A active tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import cosines


class NashMTL(Balancer):
    """Nash's bargaining solution (Navon et al., ICML 2022): weights a > 0 with `G a = 1 / a` elementwise.

    It maximises `sum_t log(g . g_t)` over steps g of fixed length and is invariant to the scale of each loss. The paper's step
    always has the length sqrt(T), which its code clips; here the weights are scaled to sum to T, so that steps shrink as the
    tasks converge. The equation is solved to machine precision by Newton's method on the convex `a' G a / 2 - sum log a`; other
    implementations run some iterations of a convex-concave programme and keep stale weights if it fails.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return NashBalance(tasks)


class NashBalance(GramianBalance):
    """Bargaining solution, without learned state."""

    averages = False

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return bargained(gramian_AA)


def bargained(gramian_AA: np.ndarray) -> np.ndarray:
    """Return the weights a > 0 with `a_t (G a)_t` equal for all tasks and sum A."""
    cosine_AA, norm_A = cosines(gramian_AA)
    a_A = np.full(len(norm_A), np.sqrt(len(norm_A) / cosine_AA.sum()))
    for _ in range(500):
        slope_A = cosine_AA @ a_A - 1 / a_A
        step_A = np.linalg.solve(cosine_AA + np.diag(1 / a_A**2), slope_A)
        decrement = np.sqrt(max(slope_A @ step_A, 0.0))
        a_A = a_A - step_A / (1 if decrement < 0.25 else 1 + decrement)
        if decrement < 1e-9:
            break
    weight_A = a_A / norm_A * norm_A.min()
    return weight_A * len(norm_A) / weight_A.sum()
