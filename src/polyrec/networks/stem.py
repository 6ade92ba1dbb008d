"""STEM: tables of each task beside shared ones, and experts over each.

Shape letters: B rows, D width of all fields together, S copies of the fields' tables, T tasks, E experts of all together, O own
experts of a task, H hidden width, R rows of all copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts, choose
from polyrec.networks.gates import Gates, mix, mix_own
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class STEM(Network):
    """Shared and task-specific embeddings (Su et al., AAAI 2024): a copy of every table for each task beside a shared copy.

    `h_t = sum_e softmax(W_t (x_t + x_0))_e expert_e`, e over ALL experts: those of t read x_t, the shared ones x_0, and those
    of another task u its x_u, but with no gradient. So every task hears all others ("all forward") and trains only its own and
    the shared tables and experts ("task-specific backward"). Unlike the authors' code it has one level, and gates are linear
    and start at equal weights; a trunk is one for all copies.
    """

    examples = ({}, {"own": 2, "shared": 2, "hidden": [16, 8], "products": True, "dropout": 0.1})

    own: int = Field(default=1, ge=1)
    """Number of experts of each task."""
    shared: int = Field(default=1, ge=1)
    """Number of experts of all tasks."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert."""

    def copies(self, tasks: Sequence[str]) -> int:
        """Return one for all tasks together, and one a task; in the input they stand in this order."""
        return 1 + len(tasks)

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return STEMNetwork(inputs, tasks, self.own, self.shared, self.hidden, self.dropout)


class STEMNetwork(SharedNetwork):
    """Experts over each copy, and gates over all experts."""

    def __init__(
        self, inputs: Inputs, tasks: Sequence[str], own: int, shared: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.inputs, self.tasks, self.each = inputs, tuple(tasks), own
        self.own = Experts(len(tasks) * own, inputs.width, hidden, dropout)
        self.shared = Experts(shared, inputs.width, hidden, dropout)
        self.gate = Gates(len(tasks), inputs.width, len(tasks) * own + shared)
        self.width = self.shared.width

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        x_SBD = self._copies(x_BD)
        own_EBH, shared_EBH = self.own(x_SBD[1:]), self.shared(x_SBD[0])
        gate_TBE = self._gate(x_SBD, chosen)
        own_gate_TBE, shared_gate_TBE = gate_TBE.split([len(own_EBH), len(shared_EBH)], 2)
        is_own_T1E = self._is_own(chosen, gate_TBE.device)
        others_TBH = mix(own_gate_TBE * ~is_own_T1E, own_EBH.detach())
        gate_TBO = own_gate_TBE.unflatten(2, (-1, self.each))[range(len(chosen)), :, chosen]
        mine_EBH = choose(own_EBH.unflatten(0, (-1, self.each)), chosen).flatten(0, 1)
        h_TBH = others_TBH + mix_own(gate_TBO, mine_EBH) + mix(shared_gate_TBE, shared_EBH)
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights of all tasks' experts, in the tasks' order, then of the shared ones."""
        chosen = [self.tasks.index(task) for task in tasks]
        return dict(zip(tasks, self._gate(self._copies(x_BD), chosen), strict=True))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return (self.shared.weights[-1], self.shared.biases[-1])

    def _copies(self, x_BD: Tensor) -> Tensor:
        """Return what the network reads of each copy: the shared, then one a task."""
        copies = 1 + len(self.tasks)
        x_RD = self.inputs(x_BD.reshape(-1, self.inputs.fields))
        return x_RD.unflatten(0, (-1, copies)).transpose(0, 1)

    def _gate(self, x_SBD: Tensor, chosen: Sequence[int]) -> Tensor:
        return self.gate(choose(x_SBD[1:], chosen) + x_SBD[0], chosen)

    def _is_own(self, chosen: Sequence[int], device: torch.device) -> Tensor:
        """Return which of all tasks' experts are each chosen task's own."""
        task_E = torch.arange(len(self.tasks), device=device).repeat_interleave(self.each)
        return (torch.tensor(chosen, device=device)[:, None] == task_E)[:, None]
