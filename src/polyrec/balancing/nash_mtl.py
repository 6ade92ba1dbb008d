"""NashMTL: the tasks bargain for the step. Shape letters: H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import cosines


class NashMTL(Balancer):
    """Nash's bargaining solution (Navon et al., ICML 2022): weights a > 0 with `G a = 1 / a` elementwise.

    It maximises `sum_t log(g . g_t)` over steps g of one length, and does not change when a loss is multiplied. The paper's
    step has the length sqrt(T) whatever the losses, and its code clips it; here the weights are scaled to sum to T, so that
    the step shrinks as the tasks are solved. The equation is solved to machine precision by Newton's method on the convex
    `a' G a / 2 - sum log a`, where others run some rounds of a convex-concave programme and keep stale weights if it fails.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return NashBalance(tasks)


class NashBalance(GramianBalance):
    """The bargaining solution; it learns nothing."""

    averages = False

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return bargained(gramian_HH)


def bargained(gramian_HH: np.ndarray) -> np.ndarray:
    """Return the weights a > 0 with `a_t (G a)_t` the same for all tasks and sum H."""
    cosine_HH, norm_H = cosines(gramian_HH)
    a_H = np.full(len(norm_H), np.sqrt(len(norm_H) / cosine_HH.sum()))
    for _ in range(500):
        slope_H = cosine_HH @ a_H - 1 / a_H
        step_H = np.linalg.solve(cosine_HH + np.diag(1 / a_H**2), slope_H)
        decrement = np.sqrt(max(slope_H @ step_H, 0.0))
        a_H = a_H - step_H / (1 if decrement < 0.25 else 1 + decrement)
        if decrement < 1e-9:
            break
    weight_H = a_H / norm_H * norm_H.min()
    return weight_H * len(norm_H) / weight_H.sum()
