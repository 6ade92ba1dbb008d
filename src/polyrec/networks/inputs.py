"""Input layer of all shared networks. Shape letters: B rows, D width of all fields together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyrec.layers.products import FieldProducts
from polyrec.trunks.trunk import Trunk


class Inputs(nn.Module):
    """The fields, or the output of a trunk over them, followed by products of field pairs. Maps (B, D) to (B, width)."""

    def __init__(self, widths: Sequence[int], trunk: Trunk | None, products: bool) -> None:
        super().__init__()
        self.products = FieldProducts(widths, products)
        self.fields = sum(widths)
        self.trunk = None if trunk is None else trunk.build(widths)
        self.width = self.products.width - (0 if self.trunk is None else self.fields - self.trunk.width)

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def readers(self, *weights: nn.Parameter) -> tuple[nn.Parameter, ...]:
        """Return the weights that read the fields if only linear maps do: the given ones, or those of the trunk."""
        if self.products.groups:
            return ()
        return weights if self.trunk is None else self.trunk.readers()

    def forward(self, x_BD: Tensor) -> Tensor:
        if not self.products.groups:
            return x_BD if self.trunk is None else self.trunk(x_BD)
        with_products_BD = self.products(x_BD)
        if self.trunk is None:
            return with_products_BD
        return torch.cat([self.trunk(x_BD), with_products_BD[:, self.fields :]], 1)
