"""`Judge`: the metrics of a model on validation rows after each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from polyrec.core.errors import UserError, nearest
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Declaration
from polyrec.evaluate.metrics.spaces import metric_of
from polyrec.evaluate.observing import Spaces, metric_names, observe_raw
from polyrec.fit.validation_ranking import ValidationRanking
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.predict.outputs import raw_outputs


class Judge:
    """Computes the first metric and the skill of each task, and the utility, on validation rows after each epoch."""

    def __init__(
        self,
        spec: Declaration,
        states: Mapping[str, pl.DataFrame],
        prepared: Prepared,
        users: np.ndarray | None,
        utility: Mapping[str, float],
        watch: Sequence[str] = (),
        ranking: ValidationRanking | None = None,
    ) -> None:
        self.spec, self.states, self.prepared, self.users = spec, states, prepared, users
        self.objective = Objective(spec.tasks)
        names = {task.name: metric_names(self.objective, task) for task in spec.tasks}
        wanted = {task: list(metrics[:1]) for task, metrics in names.items()}
        known = [f"{task}.{metric}" for task, metrics in names.items() for metric in (SKILL, *metrics)]
        ranked = [] if ranking is None else ranking.names()
        self.ranking = ranking if any(term in ranked for term in (*utility, *watch)) else None
        known += ranked
        for term in (*utility, *watch):
            if term not in known:
                thing = f"utility {term!r}" if term in utility else f"figure to watch {term!r}"
                raise UserError(thing, expected="task.metric", found="none of that name", remedy=nearest(term, known))
            name, metric = term.split(".", 1)
            if metric != SKILL and term not in ranked and metric not in wanted[name]:
                wanted[name].append(metric)
        self.wanted, self.utility = wanted, dict(utility)
        constants = self.objective.constants(prepared.targets, prepared.masks)
        self.constants = {name: loss for name, loss in constants.items() if loss > 0}
        if not self.constants:
            remedy = "Give a validation table with labels, or another split."
            found = "none, or one value throughout, for every task"
            raise UserError("validation", expected="observed labels of several values", found=found, remedy=remedy)

    def __call__(self, model: Model) -> dict[str, float]:
        """Return `task.metric` and `task.skill` of every task with different validation labels, and `utility`."""
        raw = raw_outputs(model, self.spec, self.prepared)
        targets, masks = self.prepared.targets, self.prepared.masks
        losses = self.objective.mean_losses(raw, targets, masks)
        predictions = self.objective.predictions(raw, self.states)
        spaces = observe_raw(self.objective, self.states, raw, predictions, targets, masks, self.users)
        metrics: dict[str, float] = {}
        for name, constant in self.constants.items():
            for metric in self.wanted[name]:
                metrics[f"{name}.{metric}"] = _compute(metric, spaces[name])
            metrics[f"{name}.{SKILL}"] = 1 - losses[name] / constant
        if self.ranking is not None:
            metrics |= self.ranking(model, raw)
        terms = self.utility or {f"{name}.{SKILL}": 1 / len(self.constants) for name in self.constants}
        metrics["utility"] = sum(weight * metrics.get(term, float("nan")) for term, weight in terms.items())
        return metrics


SKILL = "skill"
"""One minus the ratio of the model's loss to that of the best constant: 1 is perfect, 0 is no better than a constant."""


def _compute(name: str, spaces: Spaces) -> float:
    """Return the metric of a name, in the space that the ending of the name specifies."""
    ending = next((ending for ending in spaces if ending and name.endswith(ending)), "")
    return metric_of(name)(spaces[ending]) if ending in spaces else float("nan")
