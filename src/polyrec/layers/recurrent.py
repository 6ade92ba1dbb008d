"""Last state of a recurrent cell. Shape letters: B rows, L length, K width of an element, H width of the state."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class LastState(nn.Module):
    """Last state of a GRU (Cho et al., EMNLP 2014) or LSTM (Hochreiter and Schmidhuber, 1997), elements in order.

    `forward` maps (B, L, K) and, for rows padded at the front, a mask (B, L) to (B, H). Padding does not change the state, so
    that the result does not depend on the padding of a batch; a row without elements maps to zero. The state of an LSTM is its
    output, not its memory. Dropout is applied between layers.
    """

    def __init__(self, cell: Literal["gru", "lstm"], inputs: int, width: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        kind = nn.GRU if cell == "gru" else nn.LSTM
        self.cell = kind(inputs, width, num_layers=layers, dropout=dropout if layers > 1 else 0.0, batch_first=True)
        self.width = width

    def __call__(self, x_BLK: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        return super().__call__(x_BLK, mask_BL)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        if mask_BL is None:
            states_BLH, _ = self.cell(x_BLK)
            return states_BLH[:, -1]
        length, lengths_B = x_BLK.shape[1], mask_BL.sum(1)
        filled = lengths_B.nonzero().squeeze(1)
        last_BH = x_BLK.new_zeros(len(x_BLK), self.width)
        if len(filled) == 0:
            return last_BH
        steps_L = torch.arange(length, device=x_BLK.device)
        shift_BL = (steps_L + length - lengths_B[filled, None]) % length
        front = torch.gather(x_BLK[filled], 1, shift_BL.unsqueeze(2).expand(-1, -1, x_BLK.shape[2]))
        packed = nn.utils.rnn.pack_padded_sequence(front, lengths_B[filled].cpu(), batch_first=True, enforce_sorted=False)
        _, state = self.cell(packed)
        top_BH = (state if isinstance(state, Tensor) else state[0])[-1]
        return last_BH.index_copy(0, filled, top_BH)
