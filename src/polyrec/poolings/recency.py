"""Recency: the average of a history, the newest weighing most. Shape letters: B rows, L length of a history, K width."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.poolings.pooling import Pooling, PoolingModule


class Recency(Pooling):
    """A mean of the earlier elements under weights that fall by a power of their age: `sum_r r^-p x_r / sum_r r^-p`, r = 1 for
    the newest.

    Forgetting by a power of age is what Wixted and Ebbesen (Psychological Science 1991) found in people, and what session-based
    recommenders use to weigh recent clicks (Ludewig and Jannach, UMUAI 2018). With p = 0 it is `Mean`. Ages are counted in
    elements, not in time. It has no parameters.
    """

    examples = ({}, {"power": 0.5, "dropout": 0.2})

    power: float = Field(default=1.0, ge=0)
    """The power p: the higher, the sooner elements are forgotten."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit of the mean in training."""

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
