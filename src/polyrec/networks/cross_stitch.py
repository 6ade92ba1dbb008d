"""CrossStitch: a multilayer perceptron per task, mixed after each layer.

Shape letters: B rows, D input width, T tasks, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork

KEPT = 0.9
"""Initial weight of a task's layer output; the others share the rest (Misra et al. report little effect of the initial value).
"""


class CrossStitch(Network):
    """Cross-stitch units (Misra et al., CVPR 2016): `h_t = sum_u a_tu relu(W_u h_u)` after each layer, with learned a.

    The weights a of a layer are one number per pair of tasks. They start near the identity: .9 for the task itself, the rest in
    equal parts for the others. If a is the identity, the tasks are independent. Unlike in the paper, which has weights per
    channel, all units of a layer share the same weights. Unlike implementations with a module per task, the layers of all tasks
    are one batched product.
    """

    examples = ({}, {"hidden": [16, 8], "products": True, "dropout": 0.1})

    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each task."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return CrossStitchNetwork(Inputs([*fields.values()], self.trunk, self.products), tasks, self.hidden, self.dropout)


class CrossStitchNetwork(SharedNetwork):
    """One perceptron per task, and a T by T matrix after each layer."""

    def __init__(self, inputs: Inputs, tasks: Sequence[str], hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.inputs, self.tasks = inputs, tuple(tasks)
        count = len(tasks)
        self.own = Experts(count, inputs.width, hidden, dropout)
        others = (1 - KEPT) / max(count - 1, 1)
        start_TT = torch.full((count, count), others).fill_diagonal_(KEPT if count > 1 else 1.0)
        self.stitches = nn.ParameterList(nn.Parameter(start_TT.clone()) for _ in hidden)
        self.width = self.own.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        h_TBH = self.inputs(x_BD)
        last = len(self.stitches) - 1
        for layer, stitch_TT in enumerate(self.stitches):
            h_TBH = self.own.layer(layer, h_TBH)
            if layer == last:
                stitch_TT = stitch_TT[[self.tasks.index(task) for task in tasks]]
            h_TBH = torch.tensordot(stitch_TT, h_TBH, 1)
        return dict(zip(tasks, h_TBH, strict=True))

    def readers(self) -> tuple[nn.Parameter, ...]:
        return self.inputs.readers(self.own.weights[0])

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the last layers of all tasks: every task reads each of them through the last stitch."""
        return (self.own.weights[-1], self.own.biases[-1])
