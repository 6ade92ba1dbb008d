"""Several equal MLPs on the same input as one batched product.

Shape letters: B rows, E experts, D input width, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Experts(nn.Module):
    """E MLPs of one shape, evaluated together: the first layer as one matrix product, deeper ones as one `baddbmm` each.

    `forward` maps (B, D) to (E, B, H). Each expert starts as `nn.Linear` starts: uniform in ±1/sqrt(fan-in). Dropout is
    drawn anew for each expert.
    """

    def __init__(self, experts: int, width: int, hidden: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        assert hidden, "an expert has at least one layer"
        self.experts, self.width = experts, hidden[-1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.dropout = nn.Dropout(dropout)
        for out in hidden:
            bound = width**-0.5
            self.weights.append(nn.Parameter(torch.empty(experts, width, out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(experts, 1, out).uniform_(-bound, bound)))
            width = out

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def forward(self, x_BD: Tensor) -> Tensor:
        first_EDH, bias_E1H = self.weights[0], self.biases[0]
        flat = x_BD @ first_EDH.transpose(0, 1).reshape(x_BD.shape[1], -1)
        h_EBH = flat.view(len(x_BD), self.experts, first_EDH.shape[2]).transpose(0, 1) + bias_E1H
        h_EBH = self.dropout(torch.relu(h_EBH))
        for weight_EDH, bias_E1H in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
            h_EBH = self.dropout(torch.relu(torch.baddbmm(bias_E1H, h_EBH, weight_EDH)))
        return h_EBH
