"""Shuffling: the order in which the rows of a table are met, and the tables from which batches are cut in that order.

Shape letters: N rows, B rows of a batch, K blocks of rows, I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

if TYPE_CHECKING:
    from polyrec.data.prepared import Prepared

TOGETHER = 32
"""Rows of one group that are kept together in a batch, where a task compares rows within groups."""

GATHERED_ROWS, GATHERED_BATCHES = 65_536, 64
"""Rows, and batches, that are gathered at once at most, column by column; batches are views of what was gathered. More of them
are slower: then memory for the views has to be fetched from the system."""

BLOCK = 65_536
"""Neighbouring rows that stay in one window, where a table is too large to be in memory."""

WINDOW = 16
"""Blocks that are shuffled with each other, where a table is too large to be in memory."""


def random_order(rows: int, group_N: Tensor | None, generator: Generator | None = None) -> Tensor:
    """Return a random order of rows (N,); rows of one group stay together by up to `TOGETHER`."""
    order_N = torch.randperm(rows, generator=generator)
    if group_N is None or rows == 0:
        return order_N
    order_N = order_N[torch.argsort(group_N[order_N], stable=True)]
    group_N = group_N[order_N]
    place_N = torch.arange(rows)
    is_first_N = torch.cat([torch.ones(1, dtype=torch.bool), group_N[1:] != group_N[:-1]])
    first_N = torch.cummax(torch.where(is_first_N, place_N, 0), 0).values
    block_N = torch.cumsum((place_N - first_N) % TOGETHER == 0, 0) - 1
    key = torch.randperm(int(block_N[-1]) + 1, generator=generator)
    return order_N[torch.argsort(key[block_N], stable=True)]


def epoch(data: Prepared, size: int, skip: int) -> Iterator[tuple[Prepared, Tensor]]:
    """Do what `Prepared.epoch` says: exactly for a table that may be in memory, window by window for one that is too large."""
    if data.read_blocks is None:
        return _batches(data, data.order()[skip * size :], size)
    return _windows(data, size, skip * size, int(torch.randint(2**62, ())))


def _batches(data: Prepared, order_N: Tensor, size: int) -> Iterator[tuple[Prepared, Tensor]]:
    """Cut an order into batches; many are gathered at once, unless items are to be drawn from the table, too."""
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

    Rows that a window leaves over for the next one's first batch are carried there; so are the rows of the items.
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


def block_starts(rows: int, group_N: Tensor | None) -> list[int]:
    """Return where the blocks of a table start, and its end; a group of up to `TOGETHER` rows that lie together is not cut."""
    starts = list(range(0, rows, BLOCK))
    if group_N is not None:
        starts = [0, *(start + _rest_of_group(group_N, start) for start in starts[1:])]
    return [start for start in starts if start < rows] + [rows]


def _rest_of_group(group_N: Tensor, start: int) -> int:
    """Return how many rows from `start` on belong to a group that began before it and is to stay whole."""
    near_N = group_N[start - TOGETHER : start + TOGETHER]
    same_N = near_N == group_N[start]
    before = int(same_N[:TOGETHER].flip(0).long().cumprod(0).sum())
    after = int(same_N[TOGETHER:].long().cumprod(0).sum())
    return after if before > 0 and before + after <= TOGETHER else 0
