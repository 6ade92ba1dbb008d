"""Explicit feature crosses. Shape letters: B rows, D total width of the fields, R rank."""

from __future__ import annotations

from torch import Tensor, nn


class CrossLayers(nn.Module):
    """`x_{l+1} = x_0 * (W_l x_l + b_l) + x_l`, elementwise product (Wang et al., WWW 2021), for `layers` layers.

    With a rank R, `W_l = U_l V_l` of shapes (D, R) and (R, D). `forward` maps (B, D) to (B, D).
    """

    def __init__(self, width: int, layers: int, rank: int | None = None) -> None:
        super().__init__()
        self.weights = nn.ModuleList(
            nn.Linear(width, width)
            if rank is None
            else nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))
            for _ in range(layers)
        )

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def forward(self, x_BD: Tensor) -> Tensor:
        crossed_BD = x_BD
        for weight in self.weights:
            crossed_BD = x_BD * weight(crossed_BD) + crossed_BD
        return crossed_BD
