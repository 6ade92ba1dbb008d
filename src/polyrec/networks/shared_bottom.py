"""SharedBottom: one perceptron for all tasks. Shape letters: B rows, D input width, H hidden width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import PositiveInt
from torch import Tensor, nn

from polyrec.layers.mlp import MLP
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class SharedBottom(Network):
    """Multilayer perceptron whose output all tasks read: `h_t = MLP(x)` for each t (Caruana, Machine Learning 1997).

    Tasks share every weight below their towers. It is `MMoE` with one expert. Without layers, tasks share only the features,
    for example only a language model.
    """

    examples = ({}, {"hidden": [32], "products": True, "dropout": 0.1})

    hidden: tuple[PositiveInt, ...] = (256, 128)
    """Widths of the shared layers."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return SharedBottomNetwork(Inputs([*fields.values()], self.trunk, self.products), self.hidden, self.dropout)


class SharedBottomNetwork(SharedNetwork):
    """`h_t = MLP(x)` for every task t."""

    def __init__(self, inputs: Inputs, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.inputs = inputs
        self.bottom = MLP(inputs.width, hidden, dropout)
        self.width = self.bottom.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        h_BH = self.bottom(self.inputs(x_BD))
        return dict.fromkeys(tasks, h_BH)

    def readers(self) -> tuple[nn.Parameter, ...]:
        return self.inputs.readers(*self.bottom.readers())

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        layers = [step for step in self.bottom.steps if isinstance(step, nn.Linear)]
        return tuple(layers[-1].parameters()) if layers else ()
