"""MLP: linear layers over all fields at once. Shape letters: B rows, D total width of the fields, H trunk width."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers import mlp
from polyrec.trunks.trunk import Trunk, TrunkModule


class MLP(Trunk):
    """Multilayer perceptron over the concatenated fields: `h_{l+1} = relu(W_l h_l + b_l)` (Rumelhart et al., Nature 1986).

    Below experts it is a shared representation that all of them read, as in the bottom of the YouTube ranking network (Zhao et
    al., RecSys 2019). `SharedBottom` does not need it, because it is a perceptron itself. Field boundaries are not used.
    """

    examples = ({}, {"hidden": [32, 16], "dropout": 0.1})

    hidden: tuple[PositiveInt, ...] = Field(default=(256,), min_length=1)
    """Widths of the layers."""

    def build(self, widths: Sequence[int]) -> TrunkModule:
        return MLPTrunk(sum(widths), self.hidden, self.dropout)


class MLPTrunk(TrunkModule):
    """Linear, ReLU and dropout for each width in `hidden`."""

    def __init__(self, inputs: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.layers = mlp.MLP(inputs, hidden, dropout)
        self.width = self.layers.width

    def readers(self) -> tuple[nn.Parameter, ...]:
        return self.layers.readers()

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layers(x_BD)
