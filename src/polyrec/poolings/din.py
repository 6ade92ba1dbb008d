"""DIN: a history weighted by relevance to the candidate item.

Shape letters: B rows, L length of a history, K width of an element, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.mlp import MLP
from polyrec.poolings.pooling import Pooling, PoolingModule


class DIN(Pooling):
    """Sum of the earlier elements, each weighted by its relevance to the row's target element t (deep interest network; Zhou et
    al., KDD 2018): `sum_l a(x_l, t) x_l` with the scalar `a = MLP([x_l, t, x_l - t, x_l * t])`.

    The input of a is that of the authors' code; the paper describes the outer product of x_l and t instead of `x_l - t` and
    `x_l * t`. As in the paper, and unlike in attention, the weights are not normalised: their sum reflects the strength of the
    interest, and a history unrelated to the target is close to zero. Unlike in the paper, the layers of the unit use ReLU
    instead of Dice, whose batch statistics would make a row depend on the others. A new vector is computed for every candidate
    item.
    """

    examples = ({}, {"hidden": [12, 6]})

    sees_target: ClassVar[bool] = True

    hidden: tuple[PositiveInt, ...] = Field(default=(36,), min_length=1)
    """Widths of the layers of the activation unit, which weights an element."""

    def build(self, width: int, length: int) -> PoolingModule:
        return DINPooling(width, self.hidden)


class DINPooling(PoolingModule):
    """Activation unit and weighted sum."""

    def __init__(self, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Linear(4 * width, hidden[0])
        self.rest = MLP(hidden[0], hidden[1:])
        self.weigh = nn.Linear(self.rest.width, 1)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        weight_BL = self.weights(x_BLK, target_BK) * mask_BL
        return torch.bmm(weight_BL.unsqueeze(1), x_BLK).squeeze(1)

    def weights(self, x_BLK: Tensor, target_BK: Tensor) -> Tensor:
        """Return the weight (B, L) of each element.

        The first layer computes `[x, t, x - t, x * t]` without concatenation: `A x + B t + C (x - t) + D (x * t)` equals `(A +
        C) x + (B - C) t + D (x * t)`, which is half of the work and uses `t` once per row.
        """
        element_HK, target_HK, difference_HK, product_HK = self.first.weight.chunk(4, 1)
        target_BH = torch.addmm(self.first.bias, target_BK, (target_HK - difference_HK).T)
        element_BLH = x_BLK @ (element_HK + difference_HK).T + (x_BLK * target_BK.unsqueeze(1)) @ product_HK.T
        return self.weigh(self.rest(torch.relu(element_BLH + target_BH.unsqueeze(1)))).squeeze(2)
