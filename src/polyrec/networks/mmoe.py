"""MMoE: experts shared by all tasks, mixed by a gate per task.

Shape letters: B rows, D input width, T tasks, E experts, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts
from polyrec.networks.gates import Gates, mix
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class MMoE(Network):
    """Multi-gate mixture of experts (Ma et al., KDD 2018): `h_t = sum_e softmax(W_t x)_e expert_e(x)`.

    With one expert it is `SharedBottom`. Unlike in most implementations, the experts and the gates of all tasks are one batched
    product each, and the gates start at equal weights (W_t = 0), so that initialisation favours no expert.
    """

    examples = ({}, {"experts": 3, "hidden": [16, 8], "products": True, "dropout": 0.1})

    experts: int = Field(default=8, ge=1)
    """Number of experts."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return MMoENetwork(
            Inputs([*fields.values()], self.trunk, self.products), tasks, self.experts, self.hidden, self.dropout
        )


class MMoENetwork(SharedNetwork):
    """Experts and one linear gate per task."""

    def __init__(self, inputs: Inputs, tasks: Sequence[str], experts: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.inputs, self.tasks = inputs, tuple(tasks)
        self.experts = Experts(experts, inputs.width, hidden, dropout)
        self.gate = Gates(len(tasks), inputs.width, experts)
        self.width = self.experts.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        x_BD = self.inputs(x_BD)
        h_TBH = mix(self.gate(x_BD, chosen), self.experts(x_BD))
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        return dict(zip(tasks, self.gate(self.inputs(x_BD), chosen), strict=True))

    def readers(self) -> tuple[nn.Parameter, ...]:
        return self.inputs.readers(self.experts.weights[0], self.gate.weight)

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return (self.experts.weights[-1], self.experts.biases[-1])
