"""AdaTT: the gate of every task reads the experts of all tasks, with a residual of its task experts.

Shape letters: B rows, D input width, T tasks, E experts in total, O experts per task, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts, choose
from polyrec.networks.gates import Gates, mix
from polyrec.networks.inputs import Inputs
from polyrec.networks.levels import Level, LevelsNetwork
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class AdaTT(Network):
    """Adaptive task-to-task fusion (Li et al., KDD 2023; AdaTT-sp): `h_t = sum_e softmax(W_t x_t)_e h_e + sum_i v_ti h_ti`.

    e runs over the experts of all tasks and the shared ones, i over those of t. The second sum, with learned v, is a residual
    that keeps a direct path to the experts of the task. At the next level the experts of a task read its h_t, and the shared
    ones a mixture of the same form. Unlike in the authors' code, which draws v at random and fixes it at one if each task has
    one expert, v starts at the mean, 1 / own, and is always learned.
    """

    examples = ({}, {"levels": 2, "own": 1, "shared": 2, "hidden": [16, 8], "products": True, "dropout": 0.1})

    own: int = Field(default=2, ge=1)
    """Number of experts per task, at each level."""
    shared: int = Field(default=0, ge=0)
    """Number of experts shared by all tasks, at each level."""
    levels: int = Field(default=1, ge=1)
    """Number of levels."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert, at each level."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        def level(width: int, last: bool) -> Fusion:
            return Fusion(len(tasks), width, self.own, self.shared, self.hidden, self.dropout, last)

        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return LevelsNetwork(inputs, tasks, self.levels, self.hidden[-1], level)


class Fusion(Level):
    """One level: experts of all tasks, shared experts, gates over all of them, and the weights of the residual.

    The shared experts of the next level, if any, are an additional reader with a separate gate and residual. The residual is
    not part of the `weights`.
    """

    def __init__(
        self, tasks: int, width: int, per_task: int, shared: int, hidden: Sequence[int], dropout: float, last: bool
    ) -> None:
        super().__init__()
        self.own = Experts(tasks * per_task, width, hidden, dropout)
        self.shared = Experts(shared, width, hidden, dropout) if shared else None
        self.gate = Gates(tasks, width, tasks * per_task + shared)
        self.residual = nn.Parameter(torch.full((tasks, per_task), 1 / per_task))
        has_next = shared > 0 and not last
        self.shared_gate = Gates(1, width, tasks * per_task + shared) if has_next else None
        self.shared_residual = nn.Parameter(torch.full((shared,), 1 / shared)) if has_next else None

    def forward(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        h_EBH = task_EBH = self.own(x_TBD)
        task_TOBH = task_EBH.unflatten(0, self.residual.shape)
        if self.shared is not None:
            shared_EBH = self.shared(x_BD)
            h_EBH = torch.cat([task_EBH, shared_EBH])
            if self.shared_gate is not None and self.shared_residual is not None:
                x_BD = mix(self.shared_gate(x_BD), h_EBH)[0] + torch.tensordot(self.shared_residual, shared_EBH, 1)
        residual_TBH = torch.einsum("to,tobh->tbh", choose(self.residual, chosen), choose(task_TOBH, chosen))
        return mix(self.weights(x_TBD, chosen), h_EBH) + residual_TBH, x_BD

    def readers(self) -> tuple[nn.Parameter, ...]:
        experts = [experts.weights[0] for experts in (self.own, self.shared) if experts is not None]
        return (*experts, *(gate.weight for gate in (self.gate, self.shared_gate) if gate is not None))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the last layers of all experts: the gate of every task reads each of them."""
        last = (self.own, self.shared)
        return tuple(p for experts in last if experts is not None for p in (experts.weights[-1], experts.biases[-1]))
