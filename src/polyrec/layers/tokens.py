"""Fields as tokens of equal width. Shape letters: B rows, D total width of the fields, F fields, K width of a token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FieldTokens(nn.Module):
    """Split concatenated fields into tokens: `token_f = W_{|v_f|} v_f + identity_f`.

    Fields of equal width share one linear map; a field with the width of a token is used unchanged. The identity vector
    distinguishes fields for layers that ignore their order, and is the bias of the map. `forward` maps (B, D) to (B, F, K).
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.widths, self.width = tuple(widths), width
        self.groups: list[tuple[int, list[int]]] = [
            (size, [field for field, field_width in enumerate(widths) if field_width == size]) for size in sorted(set(widths))
        ]
        self.maps = nn.ModuleDict({str(size): nn.Linear(size, width, bias=False) for size, _ in self.groups if size != width})
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
        width = v_BGD.shape[2]
        return v_BGD if width == self.width else self.maps[str(width)](v_BGD)
