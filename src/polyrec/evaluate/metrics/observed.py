"""`Observed`: predictions and labels of the rows with an observed label.

Shape letters: N rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Observed:
    """The input of a metric: rows with an observed label only."""

    prediction: np.ndarray
    """(N,) or (N, C), in the label's units: probabilities, numbers, or one quantile per level."""
    target: np.ndarray
    """(N,) of 0 and 1, numbers or class numbers; (N, C) of 0 and 1; or (N, 2) of a duration and 1 if it is censored."""
    group: np.ndarray | None = None
    """(N,) numbers of the users, if users are declared; GAUC and the bootstrap group by them."""
    weight: np.ndarray | None = None
    """(N,) multiplicities of rows; None counts every row once."""
    levels: tuple[float, ...] = ()
    """Levels of the predicted quantiles; empty for other predictions."""
    cluster: np.ndarray | None = None
    """(N,) numbers of the users, if `group` holds other groups; the bootstrap draws them, or the groups if None."""

    def take(self, rows: np.ndarray) -> Observed:
        """Return some rows, by number or by mask."""
        group = None if self.group is None else self.group[rows]
        cluster = None if self.cluster is None else self.cluster[rows]
        weight = None if self.weight is None else self.weight[rows]
        return Observed(self.prediction[rows], self.target[rows], group, weight, self.levels, cluster)

    def weighted(self, weight: np.ndarray) -> Observed:
        """Return the same rows with other multiplicities."""
        return replace(self, weight=weight)

    @property
    def weights(self) -> np.ndarray:
        """The multiplicities as an array."""
        return np.ones(len(self.target)) if self.weight is None else self.weight.astype(float)
