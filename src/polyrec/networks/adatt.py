"""AdaTT: every task's gate reads every task's experts, with a residual of the task's own.

Shape letters: B rows, D input width, T tasks, E experts of all together, O own experts of a task, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts, choose
from polyrec.networks.gates import Gates, mix
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network, SharedNetwork


class AdaTT(Network):
    """Adaptive task-to-task fusion (Li et al., KDD 2023; AdaTT-sp): `h_t = sum_e softmax(W_t x_t)_e h_e + sum_i v_ti h_ti`.

    e runs over the experts of ALL tasks and the shared ones, i over those of t; the second sum, with learned v, is a residual
    that keeps a task's own experts in reach. At the next level the experts of a task read its h_t, and the shared ones a
    mixture of the same form. Unlike the authors' code, which draws v at random, and fixes it at one where each task has one
    expert, v starts at the mean, 1 / own, and is always learned.
    """

    examples = ({}, {"levels": 2, "own": 1, "shared": 2, "hidden": [16, 8], "products": True, "dropout": 0.1})

    own: int = Field(default=2, ge=1)
    """Number of experts of each task, at each level."""
    shared: int = Field(default=0, ge=0)
    """Number of experts of no task, at each level."""
    levels: int = Field(default=1, ge=1)
    """Number of levels."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert, at each level."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return AdaTTNetwork(inputs, tasks, self.levels, self.own, self.shared, self.hidden, self.dropout)


class AdaTTNetwork(SharedNetwork):
    """Levels of experts and their fusion, one above the other."""

    def __init__(
        self,
        inputs: Inputs,
        tasks: Sequence[str],
        levels: int,
        own: int,
        shared: int,
        hidden: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.inputs, self.tasks = inputs, tuple(tasks)
        self.levels = nn.ModuleList()
        for level in range(levels):
            width = hidden[-1] if level else inputs.width
            self.levels.append(Fusion(len(tasks), width, own, shared, hidden, dropout, last=level == levels - 1))
        self.width = hidden[-1]

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        x_TBD, x_BD = self._below(x_BD)
        h_TBH, _ = self._last(x_TBD, x_BD, chosen)
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights at the last level: of all tasks' experts, in the tasks' order, then of the shared ones.

        The residual is not among them: it is no share.
        """
        chosen = [self.tasks.index(task) for task in tasks]
        x_TBD, _ = self._below(x_BD)
        if x_TBD.dim() == 3:
            x_TBD = choose(x_TBD, chosen)
        return dict(zip(tasks, self._last.gate(x_TBD, chosen), strict=True))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the last layers of all experts of the last level: every task's gate reads each of them."""
        last = (self._last.own, self._last.shared)
        return tuple(p for experts in last if experts is not None for p in (experts.weights[-1], experts.biases[-1]))

    @property
    def _last(self) -> Fusion:
        last = self.levels[-1]
        assert isinstance(last, Fusion)
        return last

    def _below(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the tasks and what the shared experts read at the last level."""
        x_TBD = x_BD = self.inputs(x_BD)
        for level in list(self.levels)[:-1]:
            x_TBD, x_BD = level(x_TBD, x_BD, range(len(self.tasks)))
        return x_TBD, x_BD


class Fusion(nn.Module):
    """One level: the experts of all tasks, shared experts, gates over all of them, and the weights of the residual.

    The last reader of gates and residual is the shared experts of the next level, where there are any.
    """

    def __init__(
        self, tasks: int, width: int, own: int, shared: int, hidden: Sequence[int], dropout: float, last: bool
    ) -> None:
        super().__init__()
        self.own = Experts(tasks * own, width, hidden, dropout)
        self.shared = Experts(shared, width, hidden, dropout) if shared else None
        self.gate = Gates(tasks, width, tasks * own + shared)
        self.residual = nn.Parameter(torch.full((tasks, own), 1 / own))
        has_next = shared > 0 and not last
        self.shared_gate = Gates(1, width, tasks * own + shared) if has_next else None
        self.shared_residual = nn.Parameter(torch.full((shared,), 1 / shared)) if has_next else None

    def __call__(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        return super().__call__(x_TBD, x_BD, chosen)

    def forward(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what each of the chosen tasks reads at the next level, and what the shared experts do."""
        h_EBH = own_EBH = self.own(x_TBD)
        own_TOBH = own_EBH.unflatten(0, self.residual.shape)
        if self.shared is not None:
            shared_EBH = self.shared(x_BD)
            h_EBH = torch.cat([own_EBH, shared_EBH])
            if self.shared_gate is not None and self.shared_residual is not None:
                x_BD = mix(self.shared_gate(x_BD), h_EBH)[0] + torch.tensordot(self.shared_residual, shared_EBH, 1)
        gate_TBE = self.gate(x_TBD if x_TBD.dim() == 2 else choose(x_TBD, chosen), chosen)
        residual_TBH = torch.einsum("to,tobh->tbh", choose(self.residual, chosen), choose(own_TOBH, chosen))
        return mix(gate_TBE, h_EBH) + residual_TBH, x_BD
