"""`Prepared`: a table turned into columns of numbers once, from which batches are gathered.

Shape letters: N rows, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from polyrec.core.batch import Batch, Column
from polyrec.data.expressions import require_columns
from polyrec.data.histories import Log, history_column
from polyrec.features.feature import Feature, State
from polyrec.features.history import History
from polyrec.tasks.task import Task


@dataclass(frozen=True)
class Prepared:
    """Model inputs by feature and encoded labels by task, for all rows of a table."""

    columns: Mapping[str, Column]
    targets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    rows: int

    def batch(self, rows_B: Tensor) -> Batch:
        """Gather some rows."""
        return Batch(
            inputs={name: column.take(rows_B) for name, column in self.columns.items()},
            targets={name: target[rows_B] for name, target in self.targets.items()},
            masks={name: mask[rows_B] for name, mask in self.masks.items()},
            size=len(rows_B),
        )

    def batches(self, size: int, order_N: Tensor | None = None) -> Iterator[Batch]:
        """Gather all rows, `size` at a time, in the given order or as they lie."""
        order_N = torch.arange(self.rows) if order_N is None else order_N
        return (self.batch(rows_B) for rows_B in order_N.split(size))


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
        if isinstance(feature, History):
            assert log is not None and rows is not None
            of = by_name[feature.of]
            columns[feature.name] = history_column(feature, of, states[of.name], log, rows)
        else:
            columns[feature.name] = feature.encode(frame.select(feature.columns), states[feature.name])
    return columns


def require_features(frame: pl.DataFrame, features: Sequence[Feature]) -> None:
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
    return targets, masks
