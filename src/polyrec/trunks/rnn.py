"""RNN: a recurrent cell over field tokens. Shape letters: B rows, D total width of the fields, H trunk width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from polyrec.layers.recurrent import LastState
from polyrec.layers.tokens import FieldTokens
from polyrec.trunks.trunk import Trunk, TrunkModule


class RNN(Trunk):
    """Last state of a recurrent cell that reads the fields in order: `h_f = cell(token_f, h_{f-1})`.

    The cell is a gated recurrent unit (Cho et al., EMNLP 2014) or a long short-term memory (Hochreiter and Schmidhuber, Neural
    Computation 1997). Fields are read in the order in which they are declared, so the last ones are closest to the output. For
    sequences such as a user's past, use the poolings of a `History`.
    """

    examples = ({}, {"cell": "lstm", "width": 8, "hidden": 12, "layers": 2, "dropout": 0.1})

    cell: Literal["gru", "lstm"] = "gru"
    """Type of the recurrent cell."""
    width: int = Field(default=32, gt=0)
    """Width of the token of a field."""
    hidden: int = Field(default=128, gt=0)
    """Width of the state, which is the trunk's output."""
    layers: int = Field(default=1, ge=1)
    """Number of stacked cells."""

    def build(self, widths: Sequence[int]) -> TrunkModule:
        tokens = FieldTokens(widths, self.width)
        return RNNTrunk(tokens, LastState(self.cell, self.width, self.hidden, self.layers, self.dropout), self.dropout)


class RNNTrunk(TrunkModule):
    """Tokens, and the last state over them."""

    def __init__(self, tokens: FieldTokens, reader: LastState, dropout: float) -> None:
        super().__init__()
        self.tokens, self.reader = tokens, reader
        self.dropout = nn.Dropout(dropout)
        self.width = reader.width

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.dropout(self.reader(self.tokens(x_BD)))
