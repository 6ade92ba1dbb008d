"""What was observed on the test rows, once for all models. Shape letters: N rows, R resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyrec.compare.fits.tables import Split, whole_state
from polyrec.compare.resampling import draw_users
from polyrec.data.encoding import encode_labels
from polyrec.data.keys import number_groups
from polyrec.data.labels import read_labels
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task

_WITHIN_GROUPS = ("gauc", "pair_accuracy", "group_ndcg")


@dataclass(frozen=True)
class Truth:
    """What was observed of a task on the test rows."""

    task: Task
    mask: np.ndarray
    target: np.ndarray
    group: np.ndarray | None
    """Numbers of the groups within which rows are compared: the task's own, or the users."""
    drawn: np.ndarray | None
    """Numbers of what a resample draws: users, or the task's own groups where there are no users."""
    draws_RN: np.ndarray
    """How often each observed row counts in each resample."""

    @property
    def users(self) -> int:
        """What is drawn, counted: users, or groups of the task's own; rows, where there are neither."""
        return len(self.target) if self.drawn is None else len(np.unique(self.drawn))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's metrics that these rows can have."""
        return tuple(n for n in self.task.metrics if n in METRICS and (self.group is not None or n not in _WITHIN_GROUPS))

    @property
    def headline(self) -> str | None:
        """The first of them; None for a task that is judged by ranking all items alone."""
        return next(iter(self.metrics), None)

    def observed(self, prediction: np.ndarray) -> Observed:
        """Return the observed rows with a model's predictions."""
        return Observed(prediction[self.mask], self.target, self.group, levels=self.task.levels)


def read_truths(spec: Recommender, split: Split, resamples: int) -> dict[str, Truth]:
    """Return what was observed on the test rows, in terms of the whole learning table, so that all models share it."""
    user = spec.roles(split.learn).user
    users = number_groups(split.test[user]) if user is not None and user in split.test.columns else None
    states = {task.name: whole_state(spec, task, split.learn) for task in spec.tasks}
    targets, masks = encode_labels({task.name: read_labels(split.test, task) for task in spec.tasks}, spec.tasks, states)
    truths = {}
    for task in spec.tasks:
        mask, encoded = masks[task.name].numpy(), targets[task.name][masks[task.name]]
        target = task.truth(encoded, states[task.name]).numpy()
        own, drawn = task.group(encoded), None if users is None else users[mask]
        group = drawn if own is None else own.numpy()
        drawn = group if drawn is None else drawn
        truths[task.name] = Truth(task, mask, target, group, drawn, draw_users(drawn, len(target), resamples))
    return truths
