"""CrossStitch: a multilayer perceptron for each task, mixed after each layer.

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
"""What a task keeps of its own layer at the start; the others share the rest (Misra et al. find the start to matter little)."""


class CrossStitch(Network):
    """Cross-stitch units (Misra et al., CVPR 2016): `h_t = sum_u a_tu relu(W_u h_u)` after each layer, with learned a.

    The weights a of a layer are one number for each pair of tasks and start near the identity: .9 of the task's own, the rest
    in equal parts of the others. With a at the identity the tasks are apart. Unlike the paper, which has
    weights for each channel, all units of a layer have the same ones; unlike ports that run a module a task, the layers of
    all tasks are one batched product.
    """

    examples = ({}, {"hidden": [16, 8], "products": True, "dropout": 0.1})

    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each task."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return CrossStitchNetwork(Inputs([*fields.values()], self.trunk, self.products), tasks, self.hidden, self.dropout)


class CrossStitchNetwork(SharedNetwork):
    """One perceptron a task, and after each layer a matrix of T by T numbers."""

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
        """Return the last layers of all tasks: through the last stitch, every task reads each of them."""
        return (self.own.weights[-1], self.own.biases[-1])
