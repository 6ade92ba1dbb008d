"""CAGrad: the step near the mean gradient that most improves the worst-off task. Shape letters: A active tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from polyrec.balancing.balancer import Balance, Balancer
from polyrec.balancing.gramian import GramianBalance
from polyrec.layers.cones import cosines, nonnegative

LARGEST = 100.0
"""Maximum sum of the weights added to the mean, in units of `radius`."""


class CAGrad(Balancer):
    """`max_d min_t g_t . d` over steps d within `radius * |g_0|` of the mean gradient g_0 (Liu et al., NeurIPS 2021).

    `w = 1 / T + x`, where x >= 0 solves `min x' G x / 2 - (m - G 1 / T)' x` and m is the largest possible worst improvement.
    The weights of a single task sum to 1 + radius. The optimum is exact (Newton's method on m); other implementations run a
    general solver. The sum of x is limited to a hundred times `radius`: near points where no step improves all tasks, the
    mixture of x becomes shorter than a hundredth of g_0, and x, and with it the learning rates of the towers, would grow
    without bound.
    """

    examples = ({}, {"radius": 0.2})

    radius: float = Field(default=0.4, ge=0, lt=1)
    """Radius of the ball of steps, in norms of the mean gradient (c in the paper); 0 gives the mean of the losses."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return CABalance(tasks, self.radius)


class CABalance(GramianBalance):
    """Conflict-averse step, without learned state."""

    averages = True

    def __init__(self, tasks: Sequence[str], radius: float) -> None:
        super().__init__(tasks)
        self.radius = radius

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        return conflict_averse(gramian_AA, self.radius)


def conflict_averse(gramian_AA: np.ndarray, radius: float) -> np.ndarray:
    """Return the weights of the step within a radius of the mean gradient whose worst improvement is largest.

    Let n(m) be the length of the shortest vector z from the mean to the steps of worst improvement m. It is convex and
    increasing with slope `sum x / n`, so Newton's method converges to `n(m) = radius * |g_0|` from above.
    """
    cosine_AA, norm_A = cosines(gramian_AA / np.diagonal(gramian_AA).max())
    count = len(norm_A)
    product_A = norm_A * (cosine_AA @ norm_A) / count
    reach = radius * np.sqrt(product_A.mean())
    worst, x_A = (product_A + reach * norm_A).min(), np.zeros(count)
    for _ in range(100):
        if reach < 1e-9:
            break
        y_A = nonnegative(cosine_AA, (worst - product_A) / norm_A)
        length, x_A = np.sqrt(y_A @ cosine_AA @ y_A), y_A / norm_A
        if length <= reach * (1 + 1e-10):
            break
        worst -= (length - reach) * length / x_A.sum()
    return 1 / count + x_A * min(1.0, LARGEST * radius / max(x_A.sum(), 1e-300))
