"""Encoding: from the columns of a table to the inputs and targets of a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl
from torch import Tensor

from polyrec.core.batch import Column
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.log import Log
from polyrec.data.read.wide import WideTable
from polyrec.features.derived import Derived
from polyrec.features.feature import Feature, State
from polyrec.tasks.order import in_order
from polyrec.tasks.task import Task


def encode_features(
    frame: pl.DataFrame,
    features: Sequence[Feature],
    states: Mapping[str, State],
    log: Log | None = None,
    rows: pl.DataFrame | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Column]:
    """Encode all features of a frame, or `only` some; histories look up `rows` (user and time) in the log."""
    by_name = {feature.name: feature for feature in features}
    columns: dict[str, Column] = {}
    for feature in features:
        if only is not None and feature.name not in only:
            continue
        if isinstance(feature, Derived):
            column = feature.column(by_name, states, log, rows)
            if column is not None:
                columns[feature.name] = column
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
        if task.name in targets and task.after is not None:
            targets[task.name], masks[task.name] = task.after.complete(task, targets, masks)
