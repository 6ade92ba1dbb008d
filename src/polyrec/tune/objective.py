"""Objectives: what the trials are compared by, as validation tells it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polyrec.core.errors import UserError, nearest
from polyrec.evaluate.metrics.spaces import metric_of
from polyrec.evaluate.observing import metric_names
from polyrec.fit.judge import SKILL
from polyrec.model.objective import Objective as Rows
from polyrec.recommender import Recommender

UTILITY = "utility"
MOST = 3
"""Objectives at most: of more, nearly every trial is best at something."""


@dataclass(frozen=True)
class Objective:
    """One figure of the validation entry of an epoch, and which way is better."""

    name: str
    """`utility`, `task.skill` or `task.metric`."""
    higher_is_better: bool

    def of(self, entry: Mapping[str, float]) -> float:
        """Return the figure, NaN where validation does not tell it."""
        return float(entry.get(self.name, math.nan))


def read_objectives(spec: Recommender, names: Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives of these names, the utility where there is none; at most three, each once."""
    rows = Rows(spec.tasks)
    known = [UTILITY, *(f"{task.name}.{name}" for task in spec.tasks for name in (SKILL, *metric_names(rows, task)))]
    for name in names:
        if name not in known:
            remedy = nearest(name, known)
            raise UserError(f"objective {name!r}", expected="utility or task.metric", found="none of that name", remedy=remedy)
    if len(names) > MOST or len(set(names)) < len(names):
        found, remedy = ", ".join(names), "Give one, two or three different ones."
        raise UserError("the objectives", expected="three at most, each once", found=found, remedy=remedy)
    return tuple(Objective(name, _higher(name)) for name in names or (UTILITY,))


def judged_by(spec: Recommender, objectives: Sequence[Objective]) -> Recommender:
    """Return the spec with validation told to watch every objective."""
    watch = dict.fromkeys([*spec.training.watch, *(own.name for own in objectives if own.name != UTILITY)])
    return spec.replace(training=spec.training.replace(watch=tuple(watch)))


def _higher(name: str) -> bool:
    metric = name.rsplit(".", 1)[-1]
    return metric in (UTILITY, SKILL) or metric_of(metric).higher_is_better
