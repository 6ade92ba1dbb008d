"""Random orders of rows, and blocks of neighbouring rows. Shape letters: N rows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

TOGETHER = 32
"""Maximum number of rows of a group that stay together in a batch if a task compares rows within groups."""

BLOCK = 65_536
"""Number of neighbouring rows that stay in one window if a table is too large for memory."""


def random_order(rows: int, group_N: Tensor | None, generator: Generator | None = None) -> Tensor:
    """Return a random order of rows (N,); up to `TOGETHER` rows of a group stay together."""
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
    """Return the starts of the blocks of a table, and its end; a group of up to `TOGETHER` neighbouring rows is not split."""
    starts = list(range(0, rows, BLOCK))
    if group_N is not None:
        starts = [0, *(start + _rest_of_group(group_N, start) for start in starts[1:])]
    return [start for start in starts if start < rows] + [rows]


def _rest_of_group(group_N: Tensor, start: int) -> int:
    """Return the number of rows from `start` on that belong to an earlier group which must not be split."""
    near_N = group_N[start - TOGETHER : start + TOGETHER]
    same_N = near_N == group_N[start]
    before = int(same_N[:TOGETHER].flip(0).long().cumprod(0).sum())
    after = int(same_N[TOGETHER:].long().cumprod(0).sum())
    return after if before > 0 and before + after <= TOGETHER else 0
