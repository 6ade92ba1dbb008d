"""Mean: average of a history. Shape letters: B rows, L length of a history, K width of an element."""

from __future__ import annotations

import torch
from torch import Tensor

from polyrec.poolings.pooling import Pooling, PoolingModule


class Mean(Pooling):
    """Mean of the earlier elements: `sum_l x_l / L`, as in the YouTube candidate network (Covington et al., RecSys 2016).

    It has no parameters and ignores the order. Padding is not counted.
    """

    examples = ({},)

    def build(self, width: int, length: int) -> PoolingModule:
        return MeanPooling()


class MeanPooling(PoolingModule):
    """One batched product of the elements with their weights."""

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        weight_BL = mask_BL / mask_BL.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weight_BL.to(x_BLK.dtype).unsqueeze(1), x_BLK).squeeze(1)
