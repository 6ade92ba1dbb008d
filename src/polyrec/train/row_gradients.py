"""The gradient of an embedding table as distinct rows and their sums.

Shape letters: N indices, U distinct rows, R rows of the table, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

FEW = 1024
"""Number of indices up to which torch's `coalesce` is faster: call overhead, not sorting, dominates there."""


def distinct_rows(index_N: Tensor) -> Tensor:
    """Return the distinct indices (U,) in ascending order."""
    return torch.unique_consecutive(torch.from_numpy(np.sort(index_N.numpy(force=True)))).to(index_N.device)


def coalesce_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows (U,) of a gradient (R, W) in ascending order, and the sum of its parts for each row, (U, W).

    A sparse gradient of `nn.Embedding(sparse=True)` has one part per lookup of a row. Row and position are packed into one
    integer, so the sort moves eight bytes per index and compares with vector instructions. The parts of a row are added in
    lookup order, so results are the same in every run. A dense gradient reaches all rows.
    """
    if not gradient.is_sparse:
        return torch.arange(len(gradient), device=gradient.device), gradient
    index_N, part_NW = gradient._indices()[0], gradient._values()
    count = len(index_N)
    if gradient.is_coalesced():
        return index_N, part_NW
    bits = max(count - 1, 1).bit_length()
    if count <= FEW or not index_N.is_cpu or len(gradient).bit_length() + bits > 63:
        gradient = gradient.coalesce()
        return gradient._indices()[0], gradient._values()
    packed_N = index_N.bitwise_left_shift(bits).bitwise_or_(torch.arange(count))
    packed_N.numpy().sort()
    row_N = packed_N.bitwise_right_shift(bits)
    position_N = packed_N.bitwise_and_((1 << bits) - 1)
    first_U = torch.cat([position_N.new_zeros(1), torch.nonzero(row_N[1:] != row_N[:-1]).squeeze(1).add_(1)])
    return row_N.index_select(0, first_U), functional.embedding_bag(position_N, part_NW, first_U, mode="sum")
