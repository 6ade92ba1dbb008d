"""Fields as tokens of one width. Shape letters: B rows, D width of all fields together, F fields, K width of a token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FieldTokens(nn.Module):
    """Cut fields that lie side by side into tokens: `token_f = W_{|v_f|} v_f + identity_f`.

    Fields of one width share one linear map; a field that has the width of a token already is taken as it is. The identity
    vector tells fields apart for what is blind to their order, and is the bias of the map. `forward` maps (B, D) to (B, F, K).
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.widths, self.width = tuple(widths), width
        self.groups: list[tuple[int, list[int]]] = [
            (own, [field for field, other in enumerate(widths) if other == own]) for own in sorted(set(widths))
        ]
        self.maps = nn.ModuleDict({str(own): nn.Linear(own, width, bias=False) for own, _ in self.groups if own != width})
        self.identity_FK = nn.Parameter(torch.randn(len(widths), width) * width**-0.5)
        order = [field for _, fields in self.groups for field in fields]
        self.register_buffer("place_F", torch.tensor(order).argsort(), persistent=False)

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def forward(self, x_BD: Tensor) -> Tensor:
        if len(self.groups) == 1:
            return self._mapped(x_BD.unflatten(1, (len(self.widths), -1))) + self.identity_FK
        fields = x_BD.split(self.widths, 1)
        mapped = [self._mapped(torch.stack([fields[field] for field in group], 1)) for _, group in self.groups]
        return torch.cat(mapped, 1)[:, self.get_buffer("place_F")] + self.identity_FK

    def _mapped(self, v_BGD: Tensor) -> Tensor:
        own = v_BGD.shape[2]
        return v_BGD if own == self.width else self.maps[str(own)](v_BGD)
