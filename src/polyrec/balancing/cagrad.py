"""CAGrad: the step near the mean gradient that helps the worst-off task most. Shape letters: H tasks heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import cosines, nonnegative

LARGEST = 100.0
"""Sum that the weights beside the mean may reach, in units of `radius`."""


class CAGrad(Balancer):
    """`max_d min_t g_t . d` over steps d within `radius * |g_0|` of the mean gradient g_0 (Liu et al., NeurIPS 2021).

    `w = 1 / T + x`, where x >= 0 solves `min x' G x / 2 - (m - G 1 / T)' x` and m is the best worst improvement; the weights of
    a single task sum to 1 + radius. The optimum is exact (Newton's method on m), where others run a general solver. Where the
    mixture that x makes is shorter than a hundredth of g_0, as near points where no step improves all tasks, x and with it the
    towers' rates would grow without bound: its sum is held at a hundred times `radius`.
    """

    examples = ({}, {"radius": 0.2})

    radius: float = Field(default=0.4, ge=0, lt=1)
    """Radius of the ball of steps, in norms of the mean gradient (the paper's c): 0 is the mean of the losses."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return CABalance(tasks, self.radius)


class CABalance(GramianBalance):
    """The conflict-averse step; it learns nothing."""

    averages = True

    def __init__(self, tasks: Sequence[str], radius: float) -> None:
        super().__init__(tasks)
        self.radius = radius

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        return conflict_averse(gramian_HH, self.radius)


def conflict_averse(gramian_HH: np.ndarray, radius: float) -> np.ndarray:
    """Return the weights of the step within a radius of the mean gradient whose worst improvement is largest.

    The shortest way z from the mean to steps of worst improvement m has convex, rising length n(m) with slope `sum x / n`:
    Newton's method comes down to `n(m) = radius * |g_0|` from above.
    """
    cosine_HH, norm_H = cosines(gramian_HH / np.diagonal(gramian_HH).max())
    count = len(norm_H)
    product_H = norm_H * (cosine_HH @ norm_H) / count
    reach = radius * np.sqrt(product_H.mean())
    worst, x_H = (product_H + reach * norm_H).min(), np.zeros(count)
    for _ in range(100):
        if reach < 1e-9:
            break
        y_H = nonnegative(cosine_HH, (worst - product_H) / norm_H)
        length, x_H = np.sqrt(y_H @ cosine_HH @ y_H), y_H / norm_H
        if length <= reach * (1 + 1e-10):
            break
        worst -= (length - reach) * length / x_H.sum()
    return 1 / count + x_H * min(1.0, LARGEST * radius / max(x_H.sum(), 1e-300))
