"""Propagation of embeddings along the edges of a bipartite graph.

Shape letters: E edges, U nodes on the left, I nodes on the right, K width of an embedding.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Compressed(NamedTuple):
    """Sparse matrix by rows: row r has the weights `weight_E[start_R[r]:start_R[r + 1]]` in the columns `column_E` of that
    range."""

    column_E: Tensor
    start_R: Tensor
    weight_E: Tensor


class Propagation(nn.Module):
    """Light graph convolution (LightGCN; He et al., SIGIR 2020), without parameters.

    `left_{l+1} = A right_l` and `right_{l+1} = A' left_l` with `A_ui = 1 / sqrt(degree_u degree_i)` on the edges. `forward`
    maps the two tables (U, K) and (I, K), with a row for every node that has an edge, to their means over the layers 0 to
    `layers`. Duplicate edges count once. Unlike with torch's sparse tensors, forward and backward each read one matrix by rows:
    A is stored together with its transpose, which is its derivative.
    """

    def __init__(self, left_E: Tensor, right_E: Tensor, layers: int) -> None:
        super().__init__()
        self.layers = layers
        span = int(right_E.max()) + 1 if len(right_E) else 1
        edges_E = torch.unique(left_E.long() * span + right_E.long())
        left_E, right_E = edges_E // span, edges_E % span
        degree_U, degree_I = torch.bincount(left_E), torch.bincount(right_E)
        weight_E = (degree_U[left_E] * degree_I[right_E]).float().rsqrt()
        by_right_E = torch.argsort(right_E, stable=True)
        for side, degree_R, column_E, ordered_E in (
            ("left", degree_U, right_E, weight_E),
            ("right", degree_I, left_E[by_right_E], weight_E[by_right_E]),
        ):
            start_R = torch.cat([degree_R.new_zeros(1), degree_R.cumsum(0)])
            for part, tensor in zip(("column", "start", "weight"), (column_E, start_R, ordered_E), strict=True):
                self.register_buffer(f"{part}_of_{side}", tensor, persistent=False)

    def __call__(self, left_UK: Tensor, right_IK: Tensor) -> tuple[Tensor, Tensor]:
        return super().__call__(left_UK, right_IK)

    def forward(self, left_UK: Tensor, right_IK: Tensor) -> tuple[Tensor, Tensor]:
        to_left, to_right = self._compressed("left", len(left_UK)), self._compressed("right", len(right_IK))
        sum_UK, sum_IK = left_UK, right_IK
        for _ in range(self.layers):
            left_UK, right_IK = _product(right_IK, to_left, to_right), _product(left_UK, to_right, to_left)
            sum_UK, sum_IK = sum_UK + left_UK, sum_IK + right_IK
        return sum_UK / (self.layers + 1), sum_IK / (self.layers + 1)

    def left_degrees(self, left: int) -> Tensor:
        """Return the number of edges (U,) of each of the `left` nodes on the left."""
        return self._compressed("left", left).start_R.diff()

    def _compressed(self, side: str, rows: int) -> Compressed:
        column_E, start_R, weight_E = (self.get_buffer(f"{part}_of_{side}") for part in ("column", "start", "weight"))
        return Compressed(column_E, functional.pad(start_R, (0, rows + 1 - len(start_R)), value=len(column_E)), weight_E)


def _product(table: Tensor, matrix: Compressed, transpose: Compressed) -> Tensor:
    product = _Product.apply(table, matrix, transpose)  # type: ignore[no-untyped-call]
    assert isinstance(product, Tensor)
    return product


class _Product(torch.autograd.Function):
    """A sparse matrix times a table; the gradient is the transpose times the gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, matrix: Compressed, transpose: Compressed) -> Tensor:
        ctx.matrix, ctx.transpose = matrix, transpose
        return functional.embedding_bag(
            matrix.column_E, table, matrix.start_R[:-1], mode="sum", per_sample_weights=matrix.weight_E
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _product(gradients[0], ctx.transpose, ctx.matrix), None, None
