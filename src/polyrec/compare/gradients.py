"""What the tasks' gradients and gates looked like: summaries of the curves and gate weights of a contender's runs.

Shape letters: T tasks, E experts, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COSINE, NORM = ".cosine", ".gradient_norm"
"""Endings of the curves that the probes of the training write: `a|b.cosine` and `a.gradient_norm`."""

DEAD = 0.01
"""Mean weight below which an expert does not count for a task."""


def gradient_summary(curves: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any] | None:
    """Return, by epoch and averaged over seeds, the cosine of each pair of tasks and the ratio of their gradients' norms.

    None where the trainings were not probed. A seed counts as long as its training ran.
    """
    by_epoch = [{name: value for run in curves for name, value in _probed(run)}]
    pairs = sorted({name.removesuffix(COSINE) for name in by_epoch[0] if name.endswith(COSINE)})
    if not pairs:
        return None
    ratios: dict[str, list[float]] = {}
    for pair in pairs:
        first, second = pair.split("|")
        own = zip(_means(curves, first + NORM), _means(curves, second + NORM), strict=False)
        ratios[pair] = [one / other if other > 0 else math.nan for one, other in own]
    cosines = {pair: _means(curves, pair + COSINE) for pair in pairs}
    return {"cosine": cosines, "norm_ratio": ratios}


def _probed(run: Sequence[Mapping[str, float]]) -> list[tuple[str, float]]:
    return [(name, value) for entry in run for name, value in entry.items() if name.endswith((COSINE, NORM))]


def _means(curves: Sequence[Sequence[Mapping[str, float]]], name: str) -> list[float]:
    """Return the mean of a curve over the seeds by epoch."""
    epochs = max(map(len, curves), default=0)
    found = []
    for epoch in range(epochs):
        values = [run[epoch][name] for run in curves if epoch < len(run) and name in run[epoch]]
        found.append(float(np.mean(values)) if values else math.nan)
    return found


def gate_summary(gates: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any] | None:
    """Return the mean weight of each expert by task, how many experts that amounts to, and which no task uses.

    Weights are those of the first seed, since the experts of another seed stand in another order. The effective number of
    experts is `exp(-sum_e w_e ln w_e)`, averaged over seeds. Where tasks have experts of their own, which stand first, one is
    dead if no task uses its own at that place. None for networks without gates.
    """
    if not gates or not gates[0]:
        return None
    effective = {task: float(np.mean([_effective(run[task]) for run in gates])) for task in gates[0]}
    return {
        "weights": {task: [float(weight) for weight in own] for task, own in gates[0].items()},
        "effective_experts": effective,
        "dead_experts": float(np.mean([_dead(run) for run in gates])),
    }


def _effective(weights: Sequence[float]) -> float:
    positive_E = np.array([weight for weight in weights if weight > 0])
    share_E = positive_E / positive_E.sum()
    return float(np.exp(-(share_E * np.log(share_E)).sum()))


def _dead(run: Mapping[str, Sequence[float]]) -> int:
    """Return how many experts have less than DEAD of the weight of every task; tasks of other experts count apart."""
    by_width: dict[int, list[Sequence[float]]] = {}
    for weights in run.values():
        by_width.setdefault(len(weights), []).append(weights)
    return int(sum((np.max(np.array(weights_TE), axis=0) < DEAD).sum() for weights_TE in by_width.values()))
