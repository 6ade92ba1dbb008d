"""Summaries of the tasks' gradients and of the gates over the seeds of a contender.

Shape letters: T tasks, E experts, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyrec.compare.statistics import or_nan

COSINE, NORM = ".cosine", ".gradient_norm"
"""Suffixes of the curves that the training's probes write: `a|b.cosine` and `a.gradient_norm`."""

DEAD = 0.01
"""Mean weight below which a task does not use an expert."""


@dataclass(frozen=True)
class Gradients:
    """Agreement of the gradients of pairs of tasks, `a|b`, by epoch; NaN in epochs without a probe."""

    cosine: Mapping[str, Sequence[float]]
    """Cosine of the two gradients by pair."""
    norm_ratio: Mapping[str, Sequence[float]]
    """Norm of the first gradient divided by that of the second, by pair."""

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Gradients:
        """Read the gradients of report.json."""
        return cls(
            *({pair: [*map(or_nan, values)] for pair, values in document[name].items()} for name in ("cosine", "norm_ratio"))
        )


@dataclass(frozen=True)
class Gates:
    """Use of the experts by the tasks."""

    weights: Mapping[str, Sequence[float]]
    """Mean weight of each expert by task, with the first seed."""
    effective_experts: Mapping[str, float]
    """Effective number of experts by task, `exp(-sum_e w_e ln w_e)`, mean over seeds."""
    dead_experts: float
    """Number of experts that no task uses, mean over seeds."""


def gradient_summary(curves: Sequence[Sequence[Mapping[str, float]]]) -> Gradients | None:
    """Return the cosine and the norm ratio of each pair of tasks by epoch, averaged over seeds.

    None if the trainings were not probed. Each epoch is averaged over the seeds that reached it.
    """
    by_epoch = [{name: value for run in curves for name, value in _probed(run)}]
    pairs = sorted({name.removesuffix(COSINE) for name in by_epoch[0] if name.endswith(COSINE)})
    if not pairs:
        return None
    ratios: dict[str, list[float]] = {}
    for pair in pairs:
        first, second = pair.split("|")
        norms = zip(_means(curves, first + NORM), _means(curves, second + NORM), strict=False)
        ratios[pair] = [numerator / divisor if divisor > 0 else math.nan for numerator, divisor in norms]
    cosines = {pair: _means(curves, pair + COSINE) for pair in pairs}
    return Gradients(cosines, ratios)


def _probed(run: Sequence[Mapping[str, float]]) -> list[tuple[str, float]]:
    return [(name, value) for entry in run for name, value in entry.items() if name.endswith((COSINE, NORM))]


def _means(curves: Sequence[Sequence[Mapping[str, float]]], name: str) -> list[float]:
    """Return the mean of a curve over the seeds by epoch."""
    epochs = max(map(len, curves), default=0)
    means = []
    for epoch in range(epochs):
        values = [run[epoch][name] for run in curves if epoch < len(run) and name in run[epoch]]
        means.append(float(np.mean(values)) if values else math.nan)
    return means


def gate_summary(gates: Sequence[Mapping[str, Sequence[float]]]) -> Gates | None:
    """Summarise how the tasks use the experts; None for networks without gates.

    Weights are those of the first seed, since the order of the experts differs between seeds. Task-specific experts, which come
    first, are compared by position: one is dead if no task uses its expert at that position.
    """
    if not gates or not gates[0]:
        return None
    effective = {task: float(np.mean([_effective(run[task]) for run in gates])) for task in gates[0]}
    return Gates(
        weights={task: [float(weight) for weight in weights] for task, weights in gates[0].items()},
        effective_experts=effective,
        dead_experts=float(np.mean([_dead(run) for run in gates])),
    )


def _effective(weights: Sequence[float]) -> float:
    positive_E = np.array([weight for weight in weights if weight > 0])
    share_E = positive_E / positive_E.sum()
    return float(np.exp(-(share_E * np.log(share_E)).sum()))


def _dead(run: Mapping[str, Sequence[float]]) -> int:
    """Count the experts whose weight is below DEAD for every task, separately for each number of experts."""
    by_width: dict[int, list[Sequence[float]]] = {}
    for weights in run.values():
        by_width.setdefault(len(weights), []).append(weights)
    return int(sum((np.max(np.array(weights_TE), axis=0) < DEAD).sum() for weights_TE in by_width.values()))
