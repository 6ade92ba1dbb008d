"""Recurrent: last state over a history. Shape letters: B rows, L length of a history, K width of an element."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from polyrec.layers.recurrent import LastState
from polyrec.poolings.pooling import Pooling, PoolingModule


class Recurrent(Pooling):
    """Last state of a recurrent cell that reads the history, oldest first: `h_l = cell(x_l, h_{l-1})`, from zero.

    This is the session network GRU4Rec (Hidasi et al., ICLR 2016), with its GRU or with an LSTM (Hochreiter and Schmidhuber,
    Neural Computation 1997). The state has the width of an element. The cell skips padding, so that the vector does not depend
    on the other rows of the batch.
    """

    examples = ({}, {"cell": "lstm"})

    cell: Literal["gru", "lstm"] = "gru"
    """Type of the recurrent cell."""

    def build(self, width: int, length: int) -> PoolingModule:
        return RecurrentPooling(LastState(self.cell, width, width))


class RecurrentPooling(PoolingModule):
    """A recurrent cell with a mask of the real elements."""

    def __init__(self, reader: LastState) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        return self.reader(x_BLK, mask_BL)
