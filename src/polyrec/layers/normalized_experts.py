"""Experts with normalised outputs.

Shape letters: B rows, E experts, G groups of experts that share an input, D input width, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyrec.layers.experts import batched_linear, choose


class NormalizedExperts(nn.Module):
    """`Experts` with batch normalisation and Swish after each linear map, `silu(scale * norm(x W) + shift)`, as one product.

    The outputs of no expert are larger or more often zero than those of another, which would bias a gate (Wang et al., KDD
    2025). Training uses the mean and variance of the batch, so that a row depends on the others; a batch of one row uses the
    running statistics, as does evaluation. Experts that are not chosen do not update their running statistics.
    """

    def __init__(self, experts: int, width: int, hidden: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        assert hidden, "an expert has at least one layer"
        self.experts, self.width = experts, hidden[-1]
        self.weights, self.scales, self.shifts = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.dropout = nn.Dropout(dropout)
        for layer, out in enumerate(hidden):
            bound = width**-0.5
            self.weights.append(nn.Parameter(torch.empty(experts, width, out).uniform_(-bound, bound)))
            self.scales.append(nn.Parameter(torch.ones(experts, out)))
            self.shifts.append(nn.Parameter(torch.zeros(experts, out)))
            self.register_buffer(f"mean_{layer}", torch.zeros(experts, out))
            self.register_buffer(f"variance_{layer}", torch.ones(experts, out))
            width = out

    def __call__(self, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        return super().__call__(x_GBD, chosen)

    def forward(self, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        """Return the outputs (E, B, H) of the chosen experts in their order, or of all."""
        for layer, weight_EDH in enumerate(self.weights):
            h_EBH = self._normalized(layer, batched_linear(x_GBD, choose(weight_EDH, chosen)), chosen)
            x_GBD = self.dropout(functional.silu(h_EBH))
        return x_GBD

    def _normalized(self, layer: int, h_EBH: Tensor, chosen: Sequence[int] | None) -> Tensor:
        experts, rows, width = h_EBH.shape
        running = [self.get_buffer(f"mean_{layer}"), self.get_buffer(f"variance_{layer}")]
        mean_EH, variance_EH = (choose(buffer, chosen).clone() for buffer in running)
        scale_EH, shift_EH = choose(self.scales[layer], chosen), choose(self.shifts[layer], chosen)
        uses_batch = self.training and rows > 1
        flat = functional.batch_norm(
            h_EBH.transpose(0, 1).reshape(rows, experts * width),
            mean_EH.view(-1),
            variance_EH.view(-1),
            scale_EH.view(-1),
            shift_EH.view(-1),
            training=uses_batch,
        )
        if uses_batch:
            updated = slice(None) if chosen is None else list(chosen)
            running[0][updated], running[1][updated] = mean_EH, variance_EH
        return flat.view(rows, experts, width).transpose(0, 1)
