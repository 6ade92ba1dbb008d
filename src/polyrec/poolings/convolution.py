"""Convolution: patterns of neighbours in a history.

Shape letters: B rows, L length of a history, K width of an element, C channels of all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.convolution import Windows
from polyrec.poolings.pooling import Pooling, PoolingModule


class Convolution(Pooling):
    """Filters over consecutive elements, and the maximum response of each: `W max_l relu(W_s x_{l-s+1..l} + b_s)`.

    These are the horizontal filters of Caser (Tang and Wang, WSDM 2018): unions such as "these two, then that". Its vertical
    filters, weighted sums by position, are omitted: `Mean` and `SASRec` cover them. Unlike in Caser, a history may have any
    length: windows that end on padding are masked, and the oldest element is preceded by zeros. The last map has no bias, so
    that an empty history maps to zero. The position of a pattern in the history does not matter.
    """

    examples = ({}, {"channels": 6, "sizes": [2, 5]})

    channels: int = Field(default=32, gt=0)
    """Number of filters of each size."""
    sizes: tuple[PositiveInt, ...] = Field(default=(1, 2, 3), min_length=1)
    """Number of consecutive elements that a filter sees, one for each group of filters."""

    def build(self, width: int, length: int) -> PoolingModule:
        return ConvolutionPooling(width, self.channels, self.sizes)


class ConvolutionPooling(PoolingModule):
    """Windows that end on real elements, their maximum, and a map back to the width of an element."""

    def __init__(self, width: int, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.windows = Windows(width, channels, sizes)
        self.merge = nn.Linear(self.windows.width, width, bias=False)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        padding_BL1 = ~mask_BL.unsqueeze(2)
        response_BLC = self.windows(x_BLK.masked_fill(padding_BL1, 0.0)).masked_fill(padding_BL1, 0.0)
        return self.merge(response_BLC.amax(1))
