"""PEPNet: task layers scaled by personalised gates.

Shape letters: B rows, D input width, P width of the fields of the prior, T tasks, G width of a gate's hidden layer, H hidden
width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from polyrec.core.errors import UserError, nearest
from polyrec.layers.experts import Experts, batched_linear, choose
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class PEPNet(Network):
    """Parameter and embedding personalized network (Chang et al., KDD 2023): gates from a prior scale inputs and hidden units.

    `o = 2 sigmoid(MLP([prior, sg(x)])) * x`, and after each layer of each task's perceptron, whose input is o, `h_t = 2
    sigmoid(V_t relu(U [prior, sg(o)])) * relu(W_t h_t)`; sg stops the gradient. At each layer the tasks share the hidden layer
    U of the gates; the last layer V_t is per task. In the paper the prior of the inputs is features of the domain, and that of
    the layers ids of user, item and author; here one prior serves both. The gates scale but do not mix experts: `gates` is
    empty. Unlike in most implementations, the tasks are one batched product, and all gates start at one (their last layer at
    zero), so that training starts from plain perceptrons.
    """

    examples = ({}, {"personal": ["user_id"], "gate": 8, "hidden": [16, 8], "products": True, "dropout": 0.1})

    personal: tuple[str, ...] = ()
    """Features whose vectors are the prior, such as ids of user, item and author; if empty, all features."""
    gate: int = Field(default=64, ge=1)
    """Width of the hidden layer of each gate."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each task."""

    @field_validator("personal")
    @classmethod
    def _name_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in value if value.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice!r} is named twice. Name it once.")
        return value

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        for name in self.personal:
            if name not in fields:
                raise UserError(
                    f"personal feature {name!r}",
                    expected="a feature's name",
                    found="no such feature",
                    remedy=nearest(name, fields),
                )
        starts = dict(zip(fields, accumulate(fields.values(), initial=0), strict=False))
        prior = [range(starts[name], starts[name] + fields[name]) for name in self.personal or fields]
        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return PEPNetNetwork(inputs, prior, tasks, self.gate, self.hidden, self.dropout)


class PEPNetNetwork(SharedNetwork):
    """A gate on the inputs, a perceptron per task, and a gate on each of its layers."""

    def __init__(
        self, inputs: Inputs, prior: Sequence[range], tasks: Sequence[str], gate: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.inputs, self.prior, self.tasks = inputs, tuple(prior), tuple(tasks)
        width = sum(map(len, prior)) + inputs.width
        self.input_below, self.input_gate = nn.Linear(width, gate), nn.Linear(gate, inputs.width)
        nn.init.zeros_(self.input_gate.weight)
        nn.init.zeros_(self.input_gate.bias)
        self.own = Experts(len(tasks), inputs.width, hidden, dropout)
        self.gates_below = Experts(len(hidden), width, [gate])
        self.gate_weights = nn.ParameterList(nn.Parameter(torch.zeros(len(tasks), gate, out)) for out in hidden)
        self.gate_biases = nn.ParameterList(nn.Parameter(torch.zeros(len(tasks), 1, out)) for out in hidden)
        self.width = self.own.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        prior_BP = torch.cat([x_BD[:, field.start : field.stop] for field in self.prior], 1)
        x_BD = self.inputs(x_BD)
        below_BG = torch.relu(self.input_below(torch.cat([prior_BP, x_BD.detach()], 1)))
        h_TBH = o_BD = x_BD * _scale(self.input_gate(below_BG))
        for layer, below_BG in enumerate(self.gates_below(torch.cat([prior_BP, o_BD.detach()], 1))):
            weight_TGH, bias_T1H = self.gate_weights[layer], self.gate_biases[layer]
            gate_TBH = batched_linear(below_BG, choose(weight_TGH, chosen), choose(bias_T1H, chosen))
            h_TBH = self.own.layer(layer, h_TBH, chosen) * _scale(gate_TBH)
        return dict(zip(tasks, h_TBH, strict=True))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the last layer of the gate on the inputs, which precedes all tasks."""
        return tuple(self.input_gate.parameters())


def _scale(raw: Tensor) -> Tensor:
    return 2 * torch.sigmoid(raw)
