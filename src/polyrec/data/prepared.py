"""`Prepared`: a table turned into columns of numbers once, from which batches are gathered.

Shape letters: N rows, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
import torch
from torch import Tensor

from polyrec.core.batch import Batch, Column
from polyrec.core.errors import UserError
from polyrec.data.expressions import require_columns
from polyrec.data.histories import Log, history_column
from polyrec.data.shuffle import epoch, random_order
from polyrec.data.wide import WideTable
from polyrec.features.feature import Feature, State
from polyrec.features.history import History
from polyrec.features.joint import Joint, elements_of
from polyrec.features.light_gcn import LightGCN
from polyrec.tasks.order import in_order
from polyrec.tasks.product import Product
from polyrec.tasks.task import Task

Ranges = Sequence[tuple[int, int]]
"""Where some ranges of rows start and end."""


@dataclass(frozen=True)
class Items:
    """One row an item, to draw negatives from uniformly, with the targets that such a row has."""

    rows_I: Tensor
    targets: Mapping[str, Tensor]


@dataclass(frozen=True)
class Prepared:
    """Model inputs by feature and encoded labels by task, for all rows of a table."""

    columns: Mapping[str, Column]
    targets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    rows: int
    group_N: Tensor | None = None
    """Groups whose rows are to meet in a batch; None where no task compares rows within groups."""
    items: Items = field(default_factory=lambda: Items(torch.zeros(0, dtype=torch.long), {}))
    """The items that negatives are drawn from; none where no task wants any."""
    read_blocks: Callable[[Ranges, Prepared | None], Prepared] | None = None
    """Reads ranges of rows into memory, after others that are there already, where the table is too large to be in memory as a
    whole; None where it is not."""
    ready: tuple[Tensor, Batch] | None = None
    """Rows that are gathered already, and their batch."""

    def batch(self, rows_B: Tensor, items_M: Tensor | None = None) -> Batch:
        """Gather some rows and, after them, rows of some items that no label is observed for."""
        if self.ready is not None and rows_B is self.ready[0] and items_M is None:
            return self.ready[1]
        targets = {name: target[rows_B] for name, target in self.targets.items()}
        masks = {name: mask[rows_B] for name, mask in self.masks.items()}
        if items_M is not None:
            rows_B = torch.cat([rows_B, self.items.rows_I[items_M]])
            targets = {name: torch.cat([target, self.items.targets[name][items_M]]) for name, target in targets.items()}
            masks = {name: torch.cat([mask, torch.zeros(len(items_M), dtype=torch.bool)]) for name, mask in masks.items()}
        inputs = {name: column.take(rows_B) for name, column in self.columns.items()}
        return Batch(inputs, targets, masks, len(rows_B))

    def at(self, rows_N: Tensor) -> Prepared:
        """Return some rows alone, in the order given and without items, in memory of their own."""
        return Prepared(
            {name: column.at(rows_N) for name, column in self.columns.items()},
            {name: target.index_select(0, rows_N) for name, target in self.targets.items()},
            {name: mask.index_select(0, rows_N) for name, mask in self.masks.items()},
            len(rows_N),
            None if self.group_N is None else self.group_N[rows_N],
        )

    def pieces(self, size: int) -> Iterator[tuple[Prepared, Tensor]]:
        """Hand out all rows as they lie, `size` at a time, gathered already: the table and the rows in it."""
        inputs = {name: column.pieces(size) for name, column in self.columns.items()}
        targets = {name: target.split(size) for name, target in self.targets.items()}
        masks = {name: mask.split(size) for name, mask in self.masks.items()}
        for number, rows_B in enumerate(torch.arange(self.rows).split(size)):
            batch = Batch(
                {name: own[number] for name, own in inputs.items()},
                {name: own[number] for name, own in targets.items()},
                {name: own[number] for name, own in masks.items()},
                len(rows_B),
            )
            gathered = Prepared(
                self.columns, self.targets, self.masks, self.rows, self.group_N, self.items, ready=(rows_B, batch)
            )
            yield gathered, rows_B

    def order(self) -> Tensor:
        """Return a random order of the rows (N,); rows of one group stay together by up to `TOGETHER`."""
        return random_order(self.rows, self.group_N)

    def epoch(self, size: int, skip: int = 0) -> Iterator[tuple[Prepared, Tensor]]:
        """Return one pass over all rows in random order, in batches of `size` of which the last may be smaller.

        Each batch is a table and the rows in it, to be given to that table's `batch`. The order is that of torch's global
        generator at the call, not of what is drawn while batches are taken. The first `skip` batches are left out, unread.
        """
        return epoch(self, size, skip)

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
