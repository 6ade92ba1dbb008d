"""CGC: task experts and shared experts; and the levels that `PLE` stacks.

Shape letters: B rows, D input width, T tasks, E experts that a task reads, O experts per task, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts, choose
from polyrec.networks.gates import Gates, mix, mix_private, private_experts
from polyrec.networks.inputs import Inputs
from polyrec.networks.levels import Level, LevelsNetwork
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class CGC(Network):
    """Customized gate control (Tang et al., RecSys 2020): each task has a gate over its task experts and the shared experts.

    `h_t = sum_e softmax(W_t x)_e expert_e(x)`, e over the experts of t and the shared ones. It is `PLE` with one level, and
    `MMoE` without task experts. Unlike implementations that loop over experts and tasks, the experts of all tasks are one
    batched product, and gates start at equal weights.
    """

    examples = ({}, {"own": 1, "shared": 3, "hidden": [16, 8], "products": True, "dropout": 0.1}, {"own": 0, "hidden": [16]})

    own: int = Field(default=2, ge=0)
    """Number of experts per task, at each level."""
    shared: int = Field(default=2, ge=1)
    """Number of experts shared by all tasks, at each level."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert, at each level."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return self._stack(fields, tasks, 1)

    def _stack(self, fields: Mapping[str, int], tasks: Sequence[str], levels: int) -> SharedNetwork:
        def level(width: int, last: bool) -> Extraction:
            return Extraction(len(tasks), width, self.own, self.shared, self.hidden, self.dropout, last)

        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return LevelsNetwork(inputs, tasks, levels, self.hidden[-1], level)


class Extraction(Level):
    """Task experts, shared experts, a gate per task and, below the last level, a shared gate over all experts."""

    def __init__(
        self, tasks: int, width: int, per_task: int, shared: int, hidden: Sequence[int], dropout: float, last: bool
    ) -> None:
        super().__init__()
        self.each = per_task
        self.own = Experts(tasks * per_task, width, hidden, dropout) if per_task else None
        self.shared = Experts(shared, width, hidden, dropout)
        self.gate = Gates(tasks, width, per_task + shared)
        self.shared_gate = None if last else Gates(1, width, tasks * per_task + shared)

    def forward(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        gate_TBE, h_EBH = self.weights(x_TBD, chosen), self.shared(x_BD)
        h_TBH = mix(gate_TBE[:, :, self.each :], h_EBH)
        if self.own is not None:
            read_TBD = x_TBD if x_TBD.dim() == 2 else choose(x_TBD, chosen)
            task_EBH = self.own(read_TBD, private_experts(chosen, self.each))
            h_TBH = h_TBH + mix_private(gate_TBE[:, :, : self.each], task_EBH)
            h_EBH = h_EBH if self.shared_gate is None else torch.cat([task_EBH, h_EBH])
        return h_TBH, x_BD if self.shared_gate is None else mix(self.shared_gate(x_BD), h_EBH)[0]

    def readers(self) -> tuple[nn.Parameter, ...]:
        experts = [experts.weights[0] for experts in (self.own, self.shared) if experts is not None]
        return (*experts, *(gate.weight for gate in (self.gate, self.shared_gate) if gate is not None))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return (self.shared.weights[-1], self.shared.biases[-1])
