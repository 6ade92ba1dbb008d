"""Recency: average of a history with more weight on recent elements. Shape letters: B rows, L length of a history, K width."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.poolings.pooling import Pooling, PoolingModule


class Recency(Pooling):
    """Mean of the earlier elements with weights that decay as a power of age: `sum_r r^-p x_r / sum_r r^-p`, r = 1 for the
    newest.

    Wixted and Ebbesen (Psychological Science 1991) observed that people forget by a power of age; session-based recommenders
    weight recent clicks in this way (Ludewig and Jannach, UMUAI 2018). With p = 0 it is `Mean`. Age is counted in elements, not
    in time. It has no parameters.
    """

    examples = ({}, {"power": 0.5, "dropout": 0.2})

    power: float = Field(default=1.0, ge=0)
    """Exponent p: the higher, the faster the weights decay."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability of the mean in training."""

    def build(self, width: int, length: int) -> PoolingModule:
        return RecencyPooling(self.power, self.dropout)


class RecencyPooling(PoolingModule):
    """One batched product of the elements with their weights."""

    def __init__(self, power: float, dropout: float) -> None:
        super().__init__()
        self.power = power
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        age_L = torch.arange(mask_BL.shape[1], 0, -1, device=mask_BL.device, dtype=x_BLK.dtype)
        weight_BL = mask_BL * age_L**-self.power
        weight_BL = weight_BL / weight_BL.sum(1, keepdim=True).clamp(min=torch.finfo(x_BLK.dtype).tiny)
        return self.dropout(torch.bmm(weight_BL.unsqueeze(1), x_BLK).squeeze(1))
