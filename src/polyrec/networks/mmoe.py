"""MMoE: experts shared by all tasks, mixed by a gate for each task.

Shape letters: B rows, D input width, E experts, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.layers.experts import Experts
from polyrec.layers.products import FieldProducts
from polyrec.networks.network import Network, SharedNetwork


class MMoE(Network):
    """Multi-gate mixture of experts (Ma et al., KDD 2018): `h_t = sum_e softmax(W_t x)_e expert_e(x)`.

    With one expert it is `SharedBottom`. Unlike most ports, the experts of all tasks are one batched product, and the gates
    start at equal weights (W_t = 0), so that no expert is favoured by chance.
    """

    examples = ({}, {"experts": 3, "hidden": [16, 8], "products": True, "dropout": 0.1})

    experts: int = Field(default=8, ge=1)
    """Number of experts."""
    hidden: tuple[int, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert."""

    def build(self, widths: Sequence[int], tasks: Sequence[str]) -> SharedNetwork:
        return MMoENetwork(widths, tasks, self.experts, self.hidden, self.products, self.dropout)


class MMoENetwork(SharedNetwork):
    """Experts and one linear gate a task."""

    def __init__(
        self, widths: Sequence[int], tasks: Sequence[str], experts: int, hidden: Sequence[int], products: bool, dropout: float
    ) -> None:
        super().__init__()
        self.products = FieldProducts(widths, products)
        width = self.products.width
        self.experts = Experts(experts, width, hidden, dropout)
        self.gate = nn.ModuleDict({task: nn.Linear(width, experts, bias=False) for task in tasks})
        for gate in self.gate.values():
            assert isinstance(gate, nn.Linear)
            nn.init.zeros_(gate.weight)
        self.width = self.experts.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        x_BD = self.products(x_BD)
        h_EBH = self.experts(x_BD)
        gates = {task: torch.softmax(self.gate[task](x_BD), 1) for task in tasks}
        return {task: torch.einsum("be,ebh->bh", gate_BE, h_EBH) for task, gate_BE in gates.items()}

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        x_BD = self.products(x_BD)
        return {task: torch.softmax(self.gate[task](x_BD), 1) for task in tasks}
