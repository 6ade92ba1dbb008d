"""Objectives: the validation metrics by which trials are compared."""

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
"""Maximum number of objectives; with more, nearly every trial is on the Pareto front."""


@dataclass(frozen=True)
class Objective:
    """A metric of an epoch's validation entry, and its direction."""

    name: str
    """`utility`, `task.skill` or `task.metric`."""
    higher_is_better: bool

    def of(self, entry: Mapping[str, float]) -> float:
        """Return the metric, NaN if the entry does not contain it."""
        return float(entry.get(self.name, math.nan))


def read_objectives(spec: Recommender, names: Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives with these names, by default the utility; at most three different ones are allowed."""
    rows = Rows(spec.tasks)
    known = [UTILITY, *(f"{task.name}.{name}" for task in spec.tasks for name in (SKILL, *metric_names(rows, task)))]
    for name in names:
        if name not in known:
            remedy = nearest(name, known)
            raise UserError(f"objective {name!r}", expected="utility or task.metric", found="none of that name", remedy=remedy)
    if len(names) > MOST or len(set(names)) < len(names):
        found, remedy = ", ".join(names), "Name one, two or three different ones."
        raise UserError("the objectives", expected="three at most, each once", found=found, remedy=remedy)
    return tuple(Objective(name, _higher(name)) for name in names or (UTILITY,))


def judged_by(spec: Recommender, objectives: Sequence[Objective]) -> Recommender:
    """Return the spec with every objective among the metrics that validation computes."""
    watch = dict.fromkeys([*spec.training.watch, *(objective.name for objective in objectives if objective.name != UTILITY)])
    return spec.replace(training=spec.training.replace(watch=tuple(watch)))


def _higher(name: str) -> bool:
    metric = name.rsplit(".", 1)[-1]
    return metric in (UTILITY, SKILL) or metric_of(metric).higher_is_better
