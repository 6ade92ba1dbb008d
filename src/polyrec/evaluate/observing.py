"""Predictions and labels of the labelled rows of a table, in each sample space of each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.calibration.calibrator import calibrated
from polyrec.data.encoding import encode_labels
from polyrec.data.keys import number_groups
from polyrec.data.labels import has_label, read_labels
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.spaces import ALL_ROWS, given
from polyrec.model.objective import Objective
from polyrec.predict.predictor import Predictor
from polyrec.tasks.task import Task


def metric_names(objective: Objective, task: Task) -> tuple[str, ...]:
    """Return the names of a task's metrics over rows, the headline first; metrics of rankings are not included."""
    plain = tuple(name for name in task.metrics if name in METRICS)
    if task.name not in objective.conditional:
        return plain
    endings = (ALL_ROWS, given(objective.conditional[task.name]))
    return tuple(name + ending for ending in endings for name in plain)


Spaces = Mapping[str, Observed]
"""Observations of a task by the suffix of its metrics: one sample space for most tasks, two for a task after others."""


@dataclass(frozen=True)
class Judged:
    """Raw outputs of a model for the rows of a table, and the encoded labels of these rows."""

    raw: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    users: np.ndarray | None
    """Numbers of the users, (N,); None if no users are declared."""
    fitted: Predictor

    @staticmethod
    def of(fitted: Predictor, frame: pl.DataFrame) -> Judged:
        """Compute the raw outputs for a table and encode its labels."""
        labels = {task.name: read_labels(frame, task) for task in fitted.spec.tasks if has_label(frame, task)}
        targets, masks = encode_labels(labels, fitted.spec.tasks, fitted.parts.task_states)
        users = number_groups(frame[fitted.roles.user]) if fitted.roles.user in frame.columns else None
        return Judged(fitted.raw_tensors(frame), targets, masks, users, fitted)

    def among(self, rows_N: np.ndarray) -> Judged:
        """Return a copy in which only the given rows (N,) of booleans count as observed."""
        kept = torch.from_numpy(rows_N)
        return replace(self, masks={name: mask & kept for name, mask in self.masks.items()})

    def spaces(self) -> dict[str, Spaces]:
        """Return the observations of each task with labels, in each of its sample spaces.

        Predictions over all rows are calibrated if this is declared; conditional predictions never are.
        """
        fitted, objective = self.fitted, Objective(self.fitted.spec.tasks)
        predictions = objective.predictions(self.raw, fitted.parts.task_states)
        predictions = calibrated(fitted.spec.calibration, fitted.parts.calibration_states, predictions)
        return observe_raw(objective, fitted.parts.task_states, self.raw, predictions, self.targets, self.masks, self.users)


def observe(fitted: Predictor, frame: pl.DataFrame) -> dict[str, Spaces]:
    """Return predictions and observed labels by task, for the tasks that have labels in the table."""
    return Judged.of(fitted, frame).spaces()


def read_truth(frame: pl.DataFrame, task: Task, state: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of a task's observed labels, and these labels in the units of its predictions."""
    labels = read_labels(frame, task)
    mask = task.observed(labels, state)
    return mask.numpy(), task.truth(task.targets(labels, state)[mask], state).numpy()


def observe_raw(
    objective: Objective,
    states: Mapping[str, pl.DataFrame],
    raw: Mapping[str, Tensor],
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    users: np.ndarray | None,
) -> dict[str, Spaces]:
    """Return what `observe` returns, from raw outputs, predictions over all rows, and encoded labels."""
    conditional = objective.predictions(raw, states, given=True)
    observations: dict[str, Spaces] = {}
    for task in objective.tasks:
        name = task.name
        if name not in targets:
            continue
        earlier = objective.conditional.get(name)
        spaces = {"": (predictions[name], masks[name])}
        if earlier is not None and all(other in targets for other in earlier):
            happened = masks[name] & objective.happened(name, targets, masks)
            spaces = {ALL_ROWS: (predictions[name], masks[name]), given(earlier): (conditional[name], happened)}
        by_space: dict[str, Observed] = {}
        for ending, (prediction, mask) in spaces.items():
            target = targets[name][mask]
            group, user = task.group(target), None if users is None else users[mask.numpy()]
            truth = task.truth(target, states[name]).numpy()
            groups, cluster = (user, None) if group is None else (group.numpy(), user)
            by_space[ending] = Observed(prediction[mask].numpy(), truth, groups, levels=task.levels, cluster=cluster)
        observations[name] = by_space
    return observations
