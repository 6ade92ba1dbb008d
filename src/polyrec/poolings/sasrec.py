"""SASRec: self-attention over a history. Shape letters: B rows, L length of a history, K width of an element."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.errors import UserError
from polyrec.layers.transformer import TransformerBlock
from polyrec.poolings.pooling import Pooling, PoolingModule


class SASRec(Pooling):
    """Causal self-attention over the history, read at its newest element: `norm(blocks(sqrt(K) x_l + position_l))_L` (Kang and
    McAuley, ICDM 2018).

    An element attends to itself and to older ones; feed-forward layers have the width of an element, as in the paper. Unlike in
    implementations that pad at the end, positions are counted from the newest element, and padding is masked: neither the
    padding of a batch nor the length of a history changes the meaning of a position. Residuals branch off before the norm.
    """

    examples = ({}, {"heads": 1, "layers": 1, "dropout": 0.0})

    layers: int = Field(default=2, ge=1)
    """Number of blocks."""
    heads: int = Field(default=1, ge=1)
    """Number of attention heads, among which the width of an element is divided."""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Dropout probability in training."""

    def build(self, width: int, length: int) -> PoolingModule:
        if width % self.heads:
            raise UserError(
                "pooling SASRec",
                expected=f"elements whose width is a multiple of its {self.heads} heads",
                found=f"the width {width}",
                remedy="Change `heads`, or the `width` of the feature that the history contains.",
            )
        return SASRecPooling(width, length, self.layers, self.heads, self.dropout)


class SASRecPooling(PoolingModule):
    """Position embeddings, blocks with a causal mask, and the norm of the newest state."""

    def __init__(self, width: int, length: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Embedding(length, width)
        nn.init.normal_(self.positions.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        newest_BK = self.states(x_BLK, mask_BL)[:, -1]
        return newest_BK * mask_BL[:, -1:]

    def states(self, x_BLK: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the state (B, L, K) at each element, computed from it and older ones; states at padding are undefined."""
        length = x_BLK.shape[1]
        back_L = torch.arange(length - 1, -1, -1, device=x_BLK.device).clamp(max=self.positions.num_embeddings - 1)
        x_BLK = self.dropout(x_BLK * x_BLK.shape[2] ** 0.5 + self.positions(back_L))
        older_LL = torch.ones(length, length, dtype=torch.bool, device=x_BLK.device).tril()
        itself_LL = torch.eye(length, dtype=torch.bool, device=x_BLK.device)
        visible_B1LL = (mask_BL[:, None, None, :] & older_LL) | itself_LL
        for block in self.blocks:
            x_BLK = block(x_BLK, visible_B1LL)
        return self.norm(x_BLK)
