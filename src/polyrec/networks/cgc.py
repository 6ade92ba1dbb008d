"""CGC: experts of each task beside shared ones; and the levels of it that `PLE` stacks.

Shape letters: B rows, D input width, T tasks, E experts that a task reads, O own experts of a task, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from polyrec.layers.experts import Experts, choose
from polyrec.networks.gates import Gates, mix, mix_own, own_experts
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network, SharedNetwork


class CGC(Network):
    """Customized gate control (Tang et al., RecSys 2020): a gate for each task over its own experts and the shared ones.

    `h_t = sum_e softmax(W_t x)_e expert_e(x)`, e over the experts of t and the shared. It is `PLE` with one level, and with no
    own experts it is `MMoE`. Unlike ports that loop over experts and tasks, the own experts of all tasks are one batched
    product, and gates start at equal weights.
    """

    examples = ({}, {"own": 1, "shared": 3, "hidden": [16, 8], "products": True, "dropout": 0.1}, {"own": 0, "hidden": [16]})

    own: int = Field(default=2, ge=0)
    """Number of experts of each task, at each level."""
    shared: int = Field(default=2, ge=1)
    """Number of experts of all tasks, at each level."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert, at each level."""

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        return self._stack(fields, tasks, 1)

    def _stack(self, fields: Mapping[str, int], tasks: Sequence[str], levels: int) -> SharedNetwork:
        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return ExtractionNetwork(inputs, tasks, levels, self.own, self.shared, self.hidden, self.dropout)


class ExtractionNetwork(SharedNetwork):
    """Levels of experts and gates, one above the other."""

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
            self.levels.append(Extraction(len(tasks), width, own, shared, hidden, dropout, last=level == levels - 1))
        self.width = hidden[-1]

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        x_TBD, x_BD = self._below(x_BD, chosen)
        h_TBH, _ = self._last(x_TBD, x_BD, chosen)
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights at the last level: of the task's own experts, then of the shared ones."""
        chosen = [self.tasks.index(task) for task in tasks]
        x_TBD, _ = self._below(x_BD, chosen)
        return dict(zip(tasks, self._last.gate(x_TBD, chosen), strict=True))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return (self._last.shared.weights[-1], self._last.shared.biases[-1])

    @property
    def _last(self) -> Extraction:
        last = self.levels[-1]
        assert isinstance(last, Extraction)
        return last

    def _below(self, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return what the chosen tasks and what the shared experts read at the last level."""
        x_TBD = x_BD = self.inputs(x_BD)
        for level in list(self.levels)[:-1]:
            x_TBD, x_BD = level(x_TBD, x_BD, range(len(self.tasks)))
        return (x_TBD if x_TBD.dim() == 2 else choose(x_TBD, chosen)), x_BD


class Extraction(nn.Module):
    """One level: own experts, shared experts, a gate for each task and, below the last level, a shared gate over all experts.

    `forward` maps what each of the chosen tasks reads, (T, B, D), or (B, D) where all read the same, and what the shared
    experts read, (B, D), to the same at the next level; at the last there is nothing for shared experts.
    """

    def __init__(
        self, tasks: int, width: int, own: int, shared: int, hidden: Sequence[int], dropout: float, last: bool
    ) -> None:
        super().__init__()
        self.each = own
        self.own = Experts(tasks * own, width, hidden, dropout) if own else None
        self.shared = Experts(shared, width, hidden, dropout)
        self.gate = Gates(tasks, width, own + shared)
        self.shared_gate = None if last else Gates(1, width, tasks * own + shared)

    def __call__(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        return super().__call__(x_TBD, x_BD, chosen)

    def forward(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        gate_TBE, h_EBH = self.gate(x_TBD, chosen), self.shared(x_BD)
        h_TBH = mix(gate_TBE[:, :, self.each :], h_EBH)
        if self.own is not None:
            own_EBH = self.own(x_TBD, own_experts(chosen, self.each))
            h_TBH = h_TBH + mix_own(gate_TBE[:, :, : self.each], own_EBH)
            h_EBH = h_EBH if self.shared_gate is None else torch.cat([own_EBH, h_EBH])
        return h_TBH, None if self.shared_gate is None else mix(self.shared_gate(x_BD), h_EBH)[0]
