"""Labels of the test rows, read once for all models. Shape letters: N rows, R resamples."""

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
    """Labels of a task on the test rows."""

    task: Task
    """The task."""
    mask: np.ndarray
    """Mask of the test rows with an observed label."""
    target: np.ndarray
    """Labels of the observed rows."""
    group: np.ndarray | None
    """Number of the group within which each row is compared: the group of the task, or else the user."""
    drawn: np.ndarray | None
    """Number of the unit that a resample draws with each row: the user, or else the group of the task."""
    draws_RN: np.ndarray
    """Multiplicity of each observed row in each resample."""

    @property
    def users(self) -> int:
        """Number of units that a resample draws: users, or else groups of the task, or else rows."""
        return len(self.target) if self.drawn is None else len(np.unique(self.drawn))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the task that are defined on these rows."""
        return tuple(n for n in self.task.metrics if n in METRICS and (self.group is not None or n not in _WITHIN_GROUPS))

    @property
    def headline(self) -> str | None:
        """First metric; None for a task that is judged only by ranking the catalogue."""
        return next(iter(self.metrics), None)

    def observed(self, prediction: np.ndarray) -> Observed:
        """Return the labels with a model's predictions for the observed rows."""
        return Observed(prediction[self.mask], self.target, self.group, levels=self.task.levels)


def read_truths(spec: Recommender, split: Split, resamples: int) -> dict[str, Truth]:
    """Return the labels of each task on the test rows, in classes and units of the learning table, for all models alike."""
    user = spec.roles(split.learn).user
    users = number_groups(split.test[user]) if user is not None and user in split.test.columns else None
    states = {task.name: whole_state(spec, task, split.learn) for task in spec.tasks}
    targets, masks = encode_labels({task.name: read_labels(split.test, task) for task in spec.tasks}, spec.tasks, states)
    truths = {}
    for task in spec.tasks:
        mask, encoded = masks[task.name].numpy(), targets[task.name][masks[task.name]]
        target = task.truth(encoded, states[task.name]).numpy()
        task_group, drawn = task.group(encoded), None if users is None else users[mask]
        group = drawn if task_group is None else task_group.numpy()
        drawn = group if drawn is None else drawn
        truths[task.name] = Truth(task, mask, target, group, drawn, draw_users(drawn, len(target), resamples))
    return truths
