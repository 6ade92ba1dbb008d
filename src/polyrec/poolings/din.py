"""DIN: a history seen from the item that is judged.

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
    """The sum of the earlier elements, each weighed by how it bears on the row's own element t (deep interest network;
    Zhou et al., KDD 2018): `sum_l a(x_l, t) x_l` with `a = MLP([x_l, t, x_l - t, x_l * t])`, a number.

    The input of a is that of the authors' code; the paper describes the outer product of x_l and t instead of `x_l - t` and
    `x_l * t`. As in the paper, and unlike attention, the weights are not normalised: their sum tells how strong the interest
    is, and a history that has nothing to do with the element comes near zero. Unlike the paper, the unit's layers are of ReLU
    and not Dice, whose batch statistics would let a row depend on the others. A new vector is due for every item judged.
    """

    examples = ({}, {"hidden": [12, 6]})

    sees_target: ClassVar[bool] = True

    hidden: tuple[PositiveInt, ...] = Field(default=(36,), min_length=1)
    """Widths of the layers of the unit that weighs an element."""

    def build(self, width: int, length: int) -> PoolingModule:
        return DINPooling(width, self.hidden)


class DINPooling(PoolingModule):
    """The activation unit and the weighted sum."""

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

        The first layer reads `[x, t, x - t, x * t]` without laying it out: `A x + B t + C (x - t) + D (x * t)` is
        `(A + C) x + (B - C) t + D (x * t)`, half of the work, and `t` once a row.
        """
        own_HK, target_HK, difference_HK, product_HK = self.first.weight.chunk(4, 1)
        of_target_BH = torch.addmm(self.first.bias, target_BK, (target_HK - difference_HK).T)
        of_own_BLH = x_BLK @ (own_HK + difference_HK).T + (x_BLK * target_BK.unsqueeze(1)) @ product_HK.T
        return self.weigh(self.rest(torch.relu(of_own_BLH + of_target_BH.unsqueeze(1)))).squeeze(2)
