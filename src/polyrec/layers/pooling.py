"""One vector from a padded sequence. Shape letters: B rows, L length, K width."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MeanPooling(nn.Module):
    """The mean of the real elements; zero for an empty sequence. Maps (B, L, K) and a mask (B, L) to (B, K)."""

    def forward(self, x_BLK: Tensor, mask_BL: Tensor) -> Tensor:
        weight_BL = mask_BL / mask_BL.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weight_BL.to(x_BLK.dtype).unsqueeze(1), x_BLK).squeeze(1)


class GRUPooling(nn.Module):
    """The last state of a gated recurrent unit (Cho et al., 2014) over the real elements, oldest first.

    Maps (B, L, K), padded at the front, and a mask (B, L) to (B, K). Steps on padding leave the state as it was, so the
    result does not depend on how far a batch is padded; an empty sequence gives zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor) -> Tensor:
        lengths_B = mask_BL.sum(1)
        last_B1K = torch.zeros(len(x_BLK), x_BLK.shape[2], dtype=x_BLK.dtype, device=x_BLK.device)
        filled = lengths_B.nonzero().squeeze(1)
        if len(filled) == 0:
            return last_B1K
        shift_BL = (torch.arange(x_BLK.shape[1]) + x_BLK.shape[1] - lengths_B[filled, None]) % x_BLK.shape[1]
        front = torch.gather(x_BLK[filled], 1, shift_BL.unsqueeze(2).expand(-1, -1, x_BLK.shape[2]))
        packed = nn.utils.rnn.pack_padded_sequence(front, lengths_B[filled], batch_first=True, enforce_sorted=False)
        _, state_1BK = self.gru(packed)
        return last_B1K.index_copy(0, filled, state_1BK[0])
