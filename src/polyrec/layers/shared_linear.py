"""Several small linear maps as one product.

Shape letters: B rows, F maps, D inputs of a map, K outputs of a map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SharedLinear(nn.Module):
    """Several linear maps of one shape, each with a separate input, evaluated together: `y_f = x_f W_f + b_f`.

    Maps are initialised as in `nn.Linear`: uniform in ±1/sqrt(fan-in).
    """

    def __init__(self, names: Sequence[str], inputs: int, width: int) -> None:
        super().__init__()
        self.places = {name: place for place, name in enumerate(names)}
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(len(names), inputs, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(names), width).uniform_(-bound, bound))

    def __call__(self, names: Sequence[str], values: Sequence[Tensor]) -> Tensor:
        return super().__call__(names, values)

    def forward(self, names: Sequence[str], values: Sequence[Tensor]) -> Tensor:
        """Return the concatenated outputs (B, F K) of the named maps for inputs (B, D) each."""
        weight_FDK: Tensor = self.weight
        bias_FK: Tensor = self.bias
        if len(names) < len(self.places):
            chosen = torch.tensor([self.places[name] for name in names])
            weight_FDK, bias_FK = weight_FDK[chosen], bias_FK[chosen]
        x_BFD = torch.stack(tuple(values), 1)
        return (torch.einsum("bfd,fdk->bfk", x_BFD, weight_FDK) + bias_FK).flatten(1)
