"""Pairwise products of field vectors. Shape letters: B rows, F fields, K width of a field, D total width of the fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FieldProducts(nn.Module):
    """Append to the fields the sum of the elementwise products of all pairs of fields of equal width.

    For each width K that two or more fields have: `sum_{f<g} v_f * v_g = ((sum_f v_f)^2 - sum_f v_f^2) / 2`, K numbers. This is
    the second-order term of factorisation machines (Rendle, 2010) before its sum, called bi-interaction pooling in neural
    factorisation machines (He and Chua, 2017). A multilayer perceptron alone learns dot products poorly (Rendle et al., 2020).
    Fields that are all zero, such as masked ones, contribute exactly nothing.

    `forward` maps (B, D) to (B, width); it is the identity unless `enabled`.
    """

    def __init__(self, widths: Sequence[int], enabled: bool = True) -> None:
        super().__init__()
        starts = [sum(widths[:position]) for position in range(len(widths))]
        self.groups: list[tuple[int, list[int]]] = [
            (width, [start for start, field_width in zip(starts, widths, strict=True) if field_width == width])
            for width, count in sorted(Counter(widths).items())
            if enabled and count > 1
        ]
        self.uniform = len(self.groups) == 1 and len(set(widths)) == 1
        self.width = sum(widths) + sum(width for width, _ in self.groups)

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def forward(self, x_BD: Tensor) -> Tensor:
        parts = [x_BD]
        for width, starts in self.groups:
            if self.uniform:
                v_BFK = x_BD.unflatten(1, (len(starts), width))
            else:
                v_BFK = torch.stack([x_BD[:, start : start + width] for start in starts], 1)
            parts.append((v_BFK.sum(1).square() - v_BFK.square().sum(1)) / 2)
        return torch.cat(parts, 1)
