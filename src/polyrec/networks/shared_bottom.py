"""SharedBottom: one trunk for all tasks. Shape letters: B rows, D input width, H hidden width."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from polyrec.layers.mlp import MLP
from polyrec.layers.products import FieldProducts
from polyrec.networks.network import Network, SharedNetwork


class SharedBottom(Network):
    """A multilayer perceptron whose output all tasks read (Caruana, 1997).

    Tasks share every weight below their towers. It is `MMoE` with one expert.
    """

    examples = ({}, {"hidden": [32], "products": True, "dropout": 0.1})

    hidden: tuple[int, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the shared layers."""

    def build(self, widths: Sequence[int], tasks: Sequence[str]) -> SharedNetwork:
        return SharedBottomNetwork(widths, self.hidden, self.products, self.dropout)


class SharedBottomNetwork(SharedNetwork):
    """`h_t = MLP(x)` for every task t."""

    def __init__(self, widths: Sequence[int], hidden: Sequence[int], products: bool, dropout: float) -> None:
        super().__init__()
        self.products = FieldProducts(widths, products)
        self.bottom = MLP(self.products.width, hidden, dropout)
        self.width = self.bottom.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        h_BH = self.bottom(self.products(x_BD))
        return dict.fromkeys(tasks, h_BH)
