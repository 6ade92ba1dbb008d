"""DCNv2: explicit feature crosses next to a deep part. Shape letters: B rows, D total width of the fields, H trunk width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.cross import CrossLayers
from polyrec.layers.mlp import MLP
from polyrec.trunks.trunk import Trunk, TrunkModule


class DCNv2(Trunk):
    """Deep and cross network, version 2 (Wang et al., WWW 2021): `x_{l+1} = x_0 * (W_l x_l + b_l) + x_l` with the elementwise
    product, in parallel with a multilayer perceptron on the same input.

    L cross layers represent products of up to L + 1 input numbers. For the paper's stacked structure, leave the deep part empty
    and use the layers of the network above. Unlike the paper's mixture of low-rank experts, a rank means a single
    factorisation, `W = U V`.
    """

    examples = ({}, {"layers": 3, "rank": 4, "hidden": [16, 8], "dropout": 0.1}, {"layers": 1, "hidden": []})

    layers: int = Field(default=2, ge=1)
    """Number of cross layers."""
    rank: PositiveInt | None = None
    """Rank of each cross layer's matrix; if unset, the matrix is full."""
    hidden: tuple[PositiveInt, ...] = (256, 128)
    """Widths of the layers of the deep part; if empty, there is no deep part."""

    def build(self, widths: Sequence[int]) -> TrunkModule:
        return DCNv2Trunk(sum(widths), self.layers, self.rank, self.hidden, self.dropout)


class DCNv2Trunk(TrunkModule):
    """`[cross(x), MLP(x)]`, or `cross(x)` alone."""

    def __init__(self, inputs: int, layers: int, rank: int | None, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.cross = CrossLayers(inputs, layers, rank)
        self.deep = MLP(inputs, hidden, dropout) if hidden else None
        self.dropout = nn.Dropout(dropout)
        self.width = inputs + (0 if self.deep is None else self.deep.width)

    def forward(self, x_BD: Tensor) -> Tensor:
        crossed_BD = self.dropout(self.cross(x_BD))
        return crossed_BD if self.deep is None else torch.cat([crossed_BD, self.deep(x_BD)], 1)
