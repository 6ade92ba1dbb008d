"""Adam in the touched rows of a table. Shape letters: N touched rows, U distinct ones, R rows of the table, W width."""

from __future__ import annotations

import torch
from torch import Tensor


class RowAdam:
    """Lazy Adam: moments and weights are updated only in the rows that a batch touched."""

    def __init__(self, table_RW: Tensor, learning_rate: float) -> None:
        self.table_RW, self.learning_rate, self.steps = table_RW, learning_rate, 0
        self.first_RW, self.second_RW = torch.zeros_like(table_RW), torch.zeros_like(table_RW)

    def step(self, touched_N: Tensor, gradient_NW: Tensor | None) -> None:
        """Update the rows by the sum of their gradients."""
        assert gradient_NW is not None
        self.steps += 1
        rows_U, place_N = torch.unique(touched_N, return_inverse=True)
        gradient_UW = torch.zeros(len(rows_U), gradient_NW.shape[1]).index_add_(0, place_N, gradient_NW)
        first_UW = self.first_RW[rows_U].lerp_(gradient_UW, 0.1)
        second_UW = self.second_RW[rows_U].mul_(0.999).addcmul_(gradient_UW, gradient_UW, value=0.001)
        self.first_RW.index_copy_(0, rows_U, first_UW)
        self.second_RW.index_copy_(0, rows_U, second_UW)
        scale = (second_UW / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
        self.table_RW.index_add_(0, rows_U, first_UW / scale, alpha=-self.learning_rate / (1 - 0.9**self.steps))
