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
    if data.reopen is None:
        return _batches(data, data.order()[skip * size :], size)
    generator = Generator().manual_seed(int(torch.randint(2**62, ())))
    return _windows(data, size, skip * size, generator)


def _batches(data: Prepared, order_N: Tensor, size: int) -> Iterator[tuple[Prepared, Tensor]]:
    """Cut an order into batches; many are gathered at once, unless items are to be drawn from the table, too."""
    if len(data.items.rows_I):
        for rows_B in order_N.split(size):
            yield data, rows_B
        return
    for rows_N in order_N.split(max(min(GATHERED_ROWS // size, GATHERED_BATCHES), 1) * size):
        yield from data.at(rows_N).pieces(size)


def _windows(data: Prepared, size: int, skipped: int, generator: Generator) -> Iterator[tuple[Prepared, Tensor]]:
    """Shuffle blocks of rows, then the rows of every `WINDOW` of them; what a window leaves over opens the next one's.

    A window is mapped into memory, gathered from, and unmapped, so that no more than one is in memory.
    """
    assert data.reopen is not None
    starts = block_starts(data.rows, data.group_N)
    order_K = torch.randperm(len(starts) - 1, generator=generator)
    windows = order_K.split(WINDOW)
    left = torch.zeros(0, dtype=torch.int64)
    for number, window in enumerate(windows):
        rows_N = torch.cat([torch.arange(starts[block], starts[block + 1]) for block in window.tolist()])
        group_N = None if data.group_N is None else data.group_N[rows_N]
        rows_N = torch.cat([left, rows_N[random_order(len(rows_N), group_N, generator)]])
        whole = len(rows_N) if number + 1 == len(windows) else len(rows_N) // size * size
        rows_N, left = rows_N[:whole], rows_N[whole:]
        passed = min(skipped, whole)
        skipped -= passed
        if passed < whole:
            yield from _batches(*_window(data.reopen(), rows_N[passed:]), size)


def _window(opened: Prepared, rows_N: Tensor) -> tuple[Prepared, Tensor]:
    """Return the table to gather a window from, and its rows: copied where items have to be drawn beside them."""
    rows_I = opened.items.rows_I
    if not len(rows_I):
        return opened, rows_N
    items = replace(opened.items, rows_I=torch.arange(len(rows_N), len(rows_N) + len(rows_I)))
    return replace(opened.at(torch.cat([rows_N, rows_I])), items=items), torch.arange(len(rows_N))


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
