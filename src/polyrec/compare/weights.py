"""Tuned fixed weights: the baseline that every balancing method has to beat."""

from __future__ import annotations

import numpy as np

from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.recommender import Recommender

REACH = 10.0
"""Weights are drawn from 1 / REACH to REACH, before they are scaled to a mean of one."""


def weight_trials(spec: Recommender, trials: int) -> list[Recommender]:
    """Return the declaration with as many vectors of task weights: equal ones first, then random ones.

    Random weights are log-uniform, scaled to a mean of one, and the same for every call.
    """
    generator = np.random.default_rng(0)
    names = [task.name for task in spec.tasks]
    found = [spec.replace(balancing=FixedWeights())]
    while len(found) < trials:
        drawn = REACH ** generator.uniform(-1, 1, size=len(names))
        weights = {name: float(f"{value:.4g}") for name, value in zip(names, drawn / drawn.mean(), strict=True)}
        found.append(spec.replace(balancing=FixedWeights(weights=weights)))
    return found
