"""Comparisons of rows with other rows of the same group, without a loop over groups.

Shape letters: B rows, P pairs. Groups are integers, one per row, in any order; negative integers mean no group.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def pairs_within(group_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return every ordered pair of rows of the same group, (P,) and (P,), including pairs of a row with itself.

    P is the sum of the squared group sizes: the cost of small groups does not depend on the size of the largest one, unlike
    with padding.
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
    """Return for each row the minimum, maximum or sum of the values of its group, (B,).

    Rows without a group form one group.
    """
    groups, number_B = torch.unique(group_B, return_inverse=True)
    result = value_B.new_zeros(len(groups)).scatter_reduce(0, number_B, value_B, how, include_self=False)
    return result[number_B]


def log_softmax_within(score_B: Tensor, group_B: Tensor) -> Tensor:
    """Return the log-softmax of each row's score over the rows of its group, (B,)."""
    above_B = score_B - over_group(score_B.detach(), group_B, "amax")
    return above_B - over_group(above_B.exp(), group_B, "sum").log()
