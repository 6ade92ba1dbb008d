"""STEM: embedding tables and experts per task, in addition to shared ones.

Shape letters: B rows, D width of all fields together, S copies of the fields' tables, T tasks, E experts in total, O experts
per task, H hidden width, R rows of all copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts, choose
from polyrec.networks.gates import Gates, mix, mix_private
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class STEM(Network):
    """Shared and task-specific embeddings (Su et al., AAAI 2024): a copy of every table for each task and a shared copy.

    `h_t = sum_e softmax(W_t (x_t + x_0))_e expert_e`, e over all experts: those of t read x_t, the shared ones x_0, and those
    of another task u its x_u, but without gradient. Every task thus reads all others ("all forward") and trains only its tables
    and experts and the shared ones ("task-specific backward"). Unlike the authors' code it has one level, and gates are linear
    and start at equal weights; one trunk serves all copies.
    """

    examples = ({}, {"own": 2, "shared": 2, "hidden": [16, 8], "products": True, "dropout": 0.1})

    own: int = Field(default=1, ge=1)
    """Number of experts per task."""
    shared: int = Field(default=1, ge=1)
    """Number of experts shared by all tasks."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert."""

    def copies(self, tasks: Sequence[str]) -> int:
        """Return the number of copies in the input: one for all tasks together, followed by one per task."""
        return 1 + len(tasks)

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return STEMNetwork(inputs, tasks, self.own, self.shared, self.hidden, self.dropout)


class STEMNetwork(SharedNetwork):
    """Experts over each copy, and gates over all experts."""

    def __init__(
        self, inputs: Inputs, tasks: Sequence[str], per_task: int, shared: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.inputs, self.tasks, self.each = inputs, tuple(tasks), per_task
        self.own = Experts(len(tasks) * per_task, inputs.width, hidden, dropout)
        self.shared = Experts(shared, inputs.width, hidden, dropout)
        self.gate = Gates(len(tasks), inputs.width, len(tasks) * per_task + shared)
        self.width = self.shared.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        x_SBD = self._copies(x_BD)
        task_EBH, shared_EBH = self.own(x_SBD[1:]), self.shared(x_SBD[0])
        gate_TBE = self._gate(x_SBD, chosen)
        task_gate_TBE, shared_gate_TBE = gate_TBE.split([len(task_EBH), len(shared_EBH)], 2)
        is_private_T1E = self._is_private(chosen, gate_TBE.device)
        others_TBH = mix(task_gate_TBE * ~is_private_T1E, task_EBH.detach())
        gate_TBO = task_gate_TBE.unflatten(2, (-1, self.each))[range(len(chosen)), :, chosen]
        private_EBH = choose(task_EBH.unflatten(0, (-1, self.each)), chosen).flatten(0, 1)
        h_TBH = others_TBH + mix_private(gate_TBO, private_EBH) + mix(shared_gate_TBE, shared_EBH)
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights of all task experts, in the order of the tasks, then of the shared experts."""
        chosen = [self.tasks.index(task) for task in tasks]
        return dict(zip(tasks, self._gate(self._copies(x_BD), chosen), strict=True))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return (self.shared.weights[-1], self.shared.biases[-1])

    def _copies(self, x_BD: Tensor) -> Tensor:
        """Return the inputs of each copy: the shared one, then one per task."""
        copies = 1 + len(self.tasks)
        x_RD = self.inputs(x_BD.reshape(-1, self.inputs.fields))
        return x_RD.unflatten(0, (-1, copies)).transpose(0, 1)

    def _gate(self, x_SBD: Tensor, chosen: Sequence[int]) -> Tensor:
        return self.gate(choose(x_SBD[1:], chosen) + x_SBD[0], chosen)

    def _is_private(self, chosen: Sequence[int], device: torch.device) -> Tensor:
        """Return a mask of all tasks' experts that is true for those of each chosen task."""
        task_E = torch.arange(len(self.tasks), device=device).repeat_interleave(self.each)
        return (torch.tensor(chosen, device=device)[:, None] == task_E)[:, None]
