"""Rows of a batch held against the rows of their own group, without a loop over groups.

Shape letters: B rows, P pairs. Groups are told apart by a number a row, in any order; a negative number is no group.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def pairs_within(group_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return every ordered pair of rows of one group, (P,) and (P,), a row with itself included.

    P is the sum of the squared sizes of the groups: small groups cost little however large one of them is, unlike groups padded
    to the largest.
    """
    rows = (group_B >= 0).nonzero().flatten()
    rows = rows[torch.argsort(group_B[rows], stable=True)]
    sizes = torch.unique_consecutive(group_B[rows], return_counts=True)[1]
    size = torch.repeat_interleave(sizes, sizes)
    start = torch.repeat_interleave(torch.cumsum(sizes, 0) - sizes, sizes)
    first_P = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), size)
    within_P = torch.arange(len(first_P), device=rows.device) - torch.repeat_interleave(torch.cumsum(size, 0) - size, size)
    return rows[first_P], rows[start[first_P] + within_P]


def over_group(value_B: Tensor, group_B: Tensor, how: Literal["amin", "amax", "sum"]) -> Tensor:
    """Return for each row the least, the greatest or the sum of the values of its group, (B,).

    Rows of no group are treated as one group of their own.
    """
    groups, number_B = torch.unique(group_B, return_inverse=True)
    found = value_B.new_zeros(len(groups)).scatter_reduce(0, number_B, value_B, how, include_self=False)
    return found[number_B]


def log_softmax_within(score_B: Tensor, group_B: Tensor) -> Tensor:
    """Return the logarithm of the softmax of each row's score over the rows of its group, (B,)."""
    above_B = score_B - over_group(score_B.detach(), group_B, "amax")
    return above_B - over_group(above_B.exp(), group_B, "sum").log()
