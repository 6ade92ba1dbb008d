"""CNN: convolution over field tokens.

Shape letters: B rows, D total width of the fields, F fields, K width of a token, C channels of all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.convolution import Windows
from polyrec.layers.tokens import FieldTokens
from polyrec.trunks.trunk import Trunk, TrunkModule


class CNN(Trunk):
    """Filters of several sizes over neighbouring fields, followed by the maximum and the mean over all fields: `[max_f c_f,
    mean_f c_f]` with `c_f = relu(W_s token_{f-s+1..f} + b_s)` for each size s.

    Filters over fields are from FGCNN (Liu et al., WWW 2019), several sizes with a maximum over positions from text (Kim, EMNLP
    2014). In FGCNN a dense layer recombines the pooled outputs into further fields; here the layers above do that, and the
    mean, in addition to the maximum, passes a gradient to every field. A filter sees neighbouring fields only, so the order in
    which fields are declared matters.
    """

    examples = ({}, {"width": 8, "channels": 4, "sizes": [2, 5], "dropout": 0.1})

    width: int = Field(default=32, gt=0)
    """Width of the token of a field."""
    channels: int = Field(default=64, gt=0)
    """Number of filters of each size; the trunk's output contains two numbers per filter."""
    sizes: tuple[PositiveInt, ...] = Field(default=(1, 2, 3), min_length=1)
    """Number of neighbouring fields that a filter sees, one for each group of filters."""

    def build(self, widths: Sequence[int]) -> TrunkModule:
        return CNNTrunk(FieldTokens(widths, self.width), self.channels, self.sizes, self.dropout)


class CNNTrunk(TrunkModule):
    """Tokens, the windows that end at each of them, maximum and mean."""

    def __init__(self, tokens: FieldTokens, channels: int, sizes: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.tokens = tokens
        self.windows = Windows(tokens.width, channels, sizes)
        self.dropout = nn.Dropout(dropout)
        self.width = 2 * self.windows.width

    def forward(self, x_BD: Tensor) -> Tensor:
        response_BFC = self.windows(self.tokens(x_BD))
        return self.dropout(torch.cat([response_BFC.amax(1), response_BFC.mean(1)], 1))
