"""Encoding: from the columns of a table to the inputs and targets of a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.core.batch import Column
from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.histories import Log, history_column
from polyrec.data.read.wide import WideTable
from polyrec.features.feature import Feature, State
from polyrec.features.history import History
from polyrec.features.joint import Joint, elements_of
from polyrec.features.light_gcn import LightGCN
from polyrec.tasks.order import in_order
from polyrec.tasks.product import Product
from polyrec.tasks.task import Task


def encode_features(
    frame: pl.DataFrame,
    features: Sequence[Feature],
    states: Mapping[str, State],
    log: Log | None,
    rows: pl.DataFrame | None,
    only: Collection[str] | None = None,
) -> dict[str, Column]:
    """Encode the features over a frame, all or `only` some; histories look up `rows` (user and time) in the log."""
    by_name = {feature.name: feature for feature in features}
    columns: dict[str, Column] = {}
    for feature in features:
        if only is not None and feature.name not in only:
            continue
        if isinstance(feature, LightGCN | Joint):
            continue
        if isinstance(feature, History):
            assert log is not None and rows is not None
            of = elements_of(by_name[feature.of], by_name)
            columns[feature.name] = history_column(feature, of, states, log, rows)
        else:
            columns[feature.name] = feature.encode(frame.select(feature.columns), states[feature.name])
    return columns


def require_features(frame: WideTable, features: Sequence[Feature]) -> None:
    """Raise `UserError` for the first column that a feature reads and the frame lacks."""
    for feature in features:
        require_columns(frame, feature.columns, f"feature {feature.name!r}")


def encode_labels(
    labels: Mapping[str, pl.Series], tasks: Sequence[Task], states: Mapping[str, State]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the targets and masks of the tasks for which labels are given."""
    targets, masks = {}, {}
    for task in tasks:
        if task.name in labels:
            targets[task.name] = task.targets(labels[task.name], states[task.name])
            masks[task.name] = task.observed(labels[task.name], states[task.name])
    complete_labels(tasks, targets, masks)
    return targets, masks


def complete_labels(tasks: Sequence[Task], targets: dict[str, Tensor], masks: dict[str, Tensor]) -> None:
    """Complete the labels of tasks that come after others by what is known of those."""
    for task in in_order(tasks):
        if task.name in targets and isinstance(task.after, Product):
            _complete(task, targets, masks)


def _complete(task: Task, targets: dict[str, Tensor], masks: dict[str, Tensor]) -> None:
    """Set to "did not happen" what could not: rows where a task right before is known not to have happened."""
    assert task.after is not None
    for earlier in task.after.tasks:
        if earlier not in targets:
            continue
        missed = masks[earlier] & (targets[earlier] == 0)
        both = missed & masks[task.name] & (targets[task.name] == 1)
        if both.any():
            raise UserError(
                f"label {task.label!r} of the task {task.name!r}",
                expected=f"that it is false wherever {earlier!r} is, which comes before it",
                found=f"{int(both.sum())} rows in which it is true and {earlier!r} is not",
                remedy=f"Mend the labels, or drop `after` from the task {task.name!r}.",
            )
        targets[task.name] = torch.where(missed, 0.0, targets[task.name])
        masks[task.name] = masks[task.name] | missed
