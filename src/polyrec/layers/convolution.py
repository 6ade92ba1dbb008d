"""Convolution along a sequence. Shape letters: B rows, L length, K width of an element, C channels of all sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Windows(nn.Module):
    """Filters of several sizes over the windows that end at each element (Kim, EMNLP 2014): `relu(W_s x_{l-s+1..l} + b_s)`.

    `forward` maps (B, L, K) to (B, L, C), with `channels` filters of each size. The sequence is padded with zeros at its start,
    so that sequences shorter than a filter need no special case.
    """

    def __init__(self, inputs: int, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv1d(inputs, channels, size) for size in sizes)
        self.width = channels * len(sizes)

    def __call__(self, x_BLK: Tensor) -> Tensor:
        return super().__call__(x_BLK)

    def forward(self, x_BLK: Tensor) -> Tensor:
        x_BKL, responses = x_BLK.transpose(1, 2), []
        for convolution in self.filters:
            assert isinstance(convolution, nn.Conv1d)
            responses.append(convolution(functional.pad(x_BKL, (convolution.kernel_size[0] - 1, 0))))
        return torch.relu(torch.cat(responses, 1)).transpose(1, 2)
