"""`Prepared`: a table encoded as columns of numbers, from which batches are gathered.

Shape letters: N rows, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from polyrec.core.batch import Batch, Column
from polyrec.data.shuffle import block_starts, random_order

Ranges = Sequence[tuple[int, int]]
"""Start and end of ranges of rows."""


GATHERED_ROWS, GATHERED_BATCHES = 65_536, 64
"""Largest number of rows and of batches gathered at once, column by column; batches are views of them. Larger values are
slower, because the system then has to provide memory for the views."""

WINDOW = 16
"""Number of blocks shuffled together if a table is too large for memory."""


@dataclass(frozen=True)
class Items:
    """One row per item, for uniform negatives, with the targets of such a row."""

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
    """Group of each row; rows of a group stay together in batches. None if no task compares rows within groups."""
    items: Items = field(default_factory=lambda: Items(torch.zeros(0, dtype=torch.long), {}))
    """Items to draw negatives from; empty if no task needs negatives."""
    read_blocks: Callable[[Ranges, Prepared | None], Prepared] | None = None
    """Reads ranges of rows into memory, appended to rows already in memory; None if the entire table is in memory."""
    ready: tuple[Tensor, Batch] | None = None
    """Rows that are already gathered, and their batch."""

    @staticmethod
    def of_inputs(columns: Mapping[str, Column], rows: int) -> Prepared:
        """Return rows without labels, given their number and the inputs of the features."""
        return Prepared(columns, {}, {}, rows)

    def batch(self, rows_B: Tensor, items_M: Tensor | None = None) -> Batch:
        """Gather rows, followed by rows of items without observed labels."""
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
        """Return some rows alone, in the order given and without items, as a copy."""
        return Prepared(
            {name: column.at(rows_N) for name, column in self.columns.items()},
            {name: target.index_select(0, rows_N) for name, target in self.targets.items()},
            {name: mask.index_select(0, rows_N) for name, mask in self.masks.items()},
            len(rows_N),
            None if self.group_N is None else self.group_N[rows_N],
        )

    def pieces(self, size: int) -> Iterator[tuple[Prepared, Tensor]]:
        """Yield all rows in order, `size` at a time, already gathered: the table and the rows in it."""
        inputs = {name: column.pieces(size) for name, column in self.columns.items()}
        targets = {name: target.split(size) for name, target in self.targets.items()}
        masks = {name: mask.split(size) for name, mask in self.masks.items()}
        for number, rows_B in enumerate(torch.arange(self.rows).split(size)):
            batch = Batch(
                {name: pieces[number] for name, pieces in inputs.items()},
                {name: pieces[number] for name, pieces in targets.items()},
                {name: pieces[number] for name, pieces in masks.items()},
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

        Each batch is a table and the rows in it, to be passed to that table's `batch`. The order depends on torch's global
        generator at the call, not on later draws. The first `skip` batches are skipped without reading them.
        """
        return _epoch(self, size, skip)

    def batches(self, size: int, order_N: Tensor | None = None) -> Iterator[Batch]:
        """Gather all rows, `size` at a time, in the given order, by default in the order of the table."""
        order_N = torch.arange(self.rows) if order_N is None else order_N
        return (self.batch(rows_B) for rows_B in order_N.split(size))


def _epoch(data: Prepared, size: int, skip: int) -> Iterator[tuple[Prepared, Tensor]]:
    """Return the batches of `Prepared.epoch`: exactly shuffled in memory, window by window for a table that is too large."""
    if data.read_blocks is None:
        return _batches(data, data.order()[skip * size :], size)
    return _windows(data, size, skip * size, int(torch.randint(2**62, ())))


def _batches(data: Prepared, order_N: Tensor, size: int) -> Iterator[tuple[Prepared, Tensor]]:
    """Cut an order into batches; many are gathered at once, unless negatives are drawn from the table."""
    if len(order_N) == 0:
        return
    if len(data.items.rows_I):
        for rows_B in order_N.split(size):
            yield data, rows_B
        return
    for rows_N in order_N.split(max(min(GATHERED_ROWS // size, GATHERED_BATCHES), 1) * size):
        yield from data.at(rows_N).pieces(size)


def _windows(data: Prepared, size: int, skipped: int, seed: int) -> Iterator[tuple[Prepared, Tensor]]:
    """Shuffle the blocks of rows, then the rows of every `WINDOW` of them, of which one is in memory at a time.

    Rows left over by a window are carried to the first batch of the next one; so are the rows of the items.
    """
    assert data.read_blocks is not None
    starts = block_starts(data.rows, data.group_N)
    windows = torch.randperm(len(starts) - 1, generator=Generator().manual_seed(seed)).split(WINDOW)
    items = len(data.items.rows_I)
    carried, left, passed = data.at(data.items.rows_I) if items else None, 0, 0
    for number, window_K in enumerate(windows):
        ranges = [(starts[block], starts[block + 1]) for block in window_K.tolist()]
        rows = sum(stop - start for start, stop in ranges)
        passed += rows
        if passed <= skipped:
            continue
        part = data.read_blocks(ranges, carried)
        group_N = None if part.group_N is None else part.group_N[left + items :]
        order_N = random_order(rows, group_N, Generator().manual_seed(seed + number + 1)) + left + items
        order_N = torch.cat([torch.arange(left), order_N[max(skipped - (passed - rows), 0) :]])
        items_I = torch.arange(left, left + items)
        if items:
            part = replace(part, items=replace(data.items, rows_I=items_I))
        whole = len(order_N) if number + 1 == len(windows) else len(order_N) // size * size
        yield from _batches(part, order_N[:whole], size)
        left = len(order_N) - whole
        carried = part.at(torch.cat([order_N[whole:], items_I])) if left + items else None
        del part
