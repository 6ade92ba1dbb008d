"""Random orders of rows, and blocks of neighbouring rows. Shape letters: N rows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

TOGETHER = 32
"""Rows of one group that are kept together in a batch, where a task compares rows within groups."""

BLOCK = 65_536
"""Neighbouring rows that stay in one window, where a table is too large to be in memory."""


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
