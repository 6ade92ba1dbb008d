"""Recurrent: the last state over a history. Shape letters: B rows, L length of a history, K width of an element."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from polyrec.layers.recurrent import LastState
from polyrec.poolings.pooling import Pooling, PoolingModule


class Recurrent(Pooling):
    """The last state of a recurrent cell that reads the history, oldest first: `h_l = cell(x_l, h_{l-1})`, from zero.

    This is the session network GRU4Rec (Hidasi et al., ICLR 2016), with its GRU or with an LSTM (Hochreiter and Schmidhuber,
    Neural Computation 1997). The state is as wide as an element. Unlike a cell that also steps over padding, the state does
    not move there, so the vector does not depend on which other rows share a batch.
    """

    examples = ({}, {"cell": "lstm"})

    cell: Literal["gru", "lstm"] = "gru"
    """Which cell reads the history."""

    def build(self, width: int, length: int) -> PoolingModule:
        return RecurrentPooling(LastState(self.cell, width, width))


class RecurrentPooling(PoolingModule):
    """The cell, told which elements are real."""

    def __init__(self, reader: LastState) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        return self.reader(x_BLK, mask_BL)
