"""The gradient of a table as distinct rows and their sums.

Shape letters: N indices, U distinct rows, R rows of the table, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

FEW = 1024
"""Indices up to which torch's own coalescing is the faster: below, the cost is that of calling, not of sorting."""


def distinct_rows(index_N: Tensor) -> Tensor:
    """Return the distinct rows (U,), ascending, among indices."""
    return torch.unique_consecutive(torch.from_numpy(np.sort(index_N.numpy(force=True)))).to(index_N.device)


def coalesce_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows (U,), ascending, that a gradient (R, W) reaches and the sum of its parts in each, (U, W).

    A sparse gradient, as `nn.Embedding(sparse=True)` leaves it, has one part for each time that a row was read. Row and
    position are packed into one number each, so that the sort moves eight bytes an index and compares them by vector
    instructions, and the parts of a row are added up in the order in which they came: results are the same in every run. A
    dense gradient reaches all rows.
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
