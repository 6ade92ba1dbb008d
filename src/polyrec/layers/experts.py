"""Several equal MLPs as one batched product.

Shape letters: B rows, E experts, G groups of experts that share an input, D input width, H hidden width. A tensor `x_GBD` may
also be (B, D) if all experts share one input.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def batched_linear(x_GBD: Tensor, weight_EDH: Tensor, bias_E1H: Tensor | None = None) -> Tensor:
    """Apply E linear maps at once and return (E, B, H).

    The input is (B, D) for all maps, or (G, B, D) with one input for each run of E / G successive maps; with G = E every map
    has a separate input.
    """
    experts, width, out = weight_EDH.shape
    if x_GBD.dim() == 2:
        weight_DR = weight_EDH.transpose(0, 1).reshape(width, -1)
        flat = x_GBD @ weight_DR if bias_E1H is None else torch.addmm(bias_E1H.reshape(-1), x_GBD, weight_DR)
        return flat.unflatten(1, (experts, out)).transpose(0, 1)
    groups, rows = x_GBD.shape[:2]
    if groups == experts:
        return torch.bmm(x_GBD, weight_EDH) if bias_E1H is None else torch.baddbmm(bias_E1H, x_GBD, weight_EDH)
    each = experts // groups
    assert groups * each == experts, "every input has the same number of experts"
    weight_GDR = weight_EDH.unflatten(0, (groups, each)).transpose(1, 2).reshape(groups, width, each * out)
    h_GBEH = torch.bmm(x_GBD, weight_GDR).view(groups, rows, each, out)
    h_EBH = h_GBEH.transpose(1, 2).reshape(experts, rows, out)
    return h_EBH if bias_E1H is None else h_EBH + bias_E1H


class Experts(nn.Module):
    """E MLPs of one shape, evaluated together: the first layer as one matrix product, deeper ones as one `baddbmm` each.

    `forward` maps (B, D), or (G, B, D) for groups of experts with separate inputs, to (E, B, H). Experts are initialised as in
    `nn.Linear`: uniform in ±1/sqrt(fan-in). Dropout masks differ between experts. The first weight is stored as (D, E, H), one
    matrix for a common input. Hidden states are stored as (E, B, H), the fastest layout for the products of deeper layers and
    of their gradients.
    """

    def __init__(self, experts: int, width: int, hidden: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        assert hidden, "an expert has at least one layer"
        self.experts, self.width = experts, hidden[-1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.dropout = nn.Dropout(dropout)
        for layer, out in enumerate(hidden):
            bound = width**-0.5
            weight_EDH = torch.empty(experts, width, out) if layer else torch.empty(width, experts, out).transpose(0, 1)
            self.weights.append(nn.Parameter(weight_EDH.uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(experts, 1, out).uniform_(-bound, bound)))
            width = out

    def __call__(self, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        return super().__call__(x_GBD, chosen)

    def forward(self, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        """Return the outputs of the chosen experts in their order, or of all."""
        for layer in range(len(self.weights)):
            x_GBD = self.layer(layer, x_GBD, chosen)
        return x_GBD

    def layer(self, position: int, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        """Return the outputs of one layer, (E, B, layer width), for networks that insert operations between layers."""
        weight_EDH, bias_E1H = choose(self.weights[position], chosen), choose(self.biases[position], chosen)
        return self.dropout(torch.relu_(batched_linear(x_GBD, weight_EDH, bias_E1H).contiguous()))


def choose(weight: Tensor, chosen: Sequence[int] | None) -> Tensor:
    """Return slices of a weight along its first dimension in the given order; the weight itself if all are chosen in order."""
    if chosen is None or list(chosen) == list(range(len(weight))):
        return weight
    return weight.index_select(0, torch.tensor(chosen, dtype=torch.long, device=weight.device))
