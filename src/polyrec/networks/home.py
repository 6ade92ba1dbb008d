"""HoME: experts of all tasks, of groups of tasks and of single tasks, in two levels.

Shape letters: B rows, D input width, T tasks, G groups of tasks, E experts, R rank of a feature gate, H hidden width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Self

import torch
from pydantic import Field, PositiveInt, field_validator
from torch import Tensor, nn

from polyrec.core.errors import UserError, nearest
from polyrec.layers.experts import batched_linear, choose
from polyrec.layers.normalized_experts import NormalizedExperts
from polyrec.networks.gates import Gates, mix, mix_private, private_experts
from polyrec.networks.inputs import Inputs
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork


class HoME(Network):
    """Hierarchy of multi-gate experts (Wang et al., KDD 2025): a level of task groups below a level of tasks.

    At the lower level, experts of each group and shared experts read x, and gates form one mixture z_g per group and one, z,
    for all. At the upper level, shared experts read z, group experts read the z_g of their group, task experts read the z_g of
    the task's group, and the gate of a task, which reads [z_g, z], mixes the three kinds: `h_t = sum_e softmax(W_t [z_g, z])_e
    expert_e + sum_i s_ti expert_ti`. The second sum is a self-gate over the private experts of the reader, so that these learn
    from sparse tasks too; every mixture has one. The input of each expert is scaled by a low-rank feature gate, `2 sigmoid((x
    B_e) A_e) x`; its outputs are batch-normalised and pass through Swish. Unlike in the paper, which mixes feature gates of
    several ranks, each expert has one, and all gates start at equal weights. Shared experts are normalised over all their
    inputs, even if tasks see different features.
    """

    examples = (
        {},
        {
            "groups": [["stars"]],
            "own": 2,
            "grouped": 1,
            "shared": 3,
            "rank": 2,
            "hidden": [16, 8],
            "products": True,
            "dropout": 0.1,
        },
    )

    groups: tuple[tuple[str, ...], ...] = ()
    """Groups of tasks by name; a task belongs to one group. Tasks that are not named form one more group."""
    own: int = Field(default=1, ge=1)
    """Number of experts per task."""
    grouped: int = Field(default=2, ge=1)
    """Number of experts per group, at each level."""
    shared: int = Field(default=2, ge=1)
    """Number of experts shared by all tasks, at each level."""
    rank: int = Field(default=8, ge=1)
    """Rank of the feature gates."""
    hidden: tuple[PositiveInt, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the layers of each expert, at each level."""

    @field_validator("groups")
    @classmethod
    def _part(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if not all(value):
            raise ValueError("a group is empty. Name its tasks, or remove it.")
        names = [name for group in value for name in group]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"task {twice!r} is named twice. A task belongs to one group.")
        return value

    def among(self, tasks: Collection[str]) -> Self:
        kept = (tuple(name for name in group if name in tasks) for group in self.groups)
        return self.replace(groups=tuple(group for group in kept if group))

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        named = {name: position for position, group in enumerate(self.groups) for name in group}
        for name in named:
            if name not in tasks:
                raise UserError(
                    f"group with {name!r}", expected="a task's name", found="no such task", remedy=nearest(name, tasks)
                )
        group_of = [named.get(task, len(self.groups)) for task in tasks]
        inputs = Inputs([*fields.values()], self.trunk, self.products)
        return HoMENetwork(inputs, tasks, group_of, self)


class HoMENetwork(SharedNetwork):
    """The lower level of groups and the upper level of tasks."""

    def __init__(self, inputs: Inputs, tasks: Sequence[str], group_of: Sequence[int], spec: HoME) -> None:
        super().__init__()
        self.inputs, self.tasks, self.group_of = inputs, tuple(tasks), tuple(group_of)
        self.per_task, self.per_group = spec.own, spec.grouped
        groups, width = max(group_of) + 1, inputs.width
        self.width = between = spec.hidden[-1]

        def experts(count: int, width: int) -> GatedExperts:
            return GatedExperts(count, width, spec.rank, spec.hidden, spec.dropout)

        self.meta_grouped, self.meta_shared = experts(groups * spec.grouped, width), experts(spec.shared, width)
        self.meta_gate = Gates(groups, width, spec.grouped + spec.shared)
        self.meta_shared_gate = Gates(1, width, groups * spec.grouped + spec.shared)
        self.meta_self, self.meta_shared_self = SelfGates(groups, width, spec.grouped), SelfGates(1, width, spec.shared)
        self.own, self.grouped = experts(len(tasks) * spec.own, between), experts(groups * spec.grouped, between)
        self.shared = experts(spec.shared, between)
        self.gate = Gates(len(tasks), 2 * between, spec.own + spec.grouped + spec.shared)
        self.own_self = SelfGates(len(tasks), between, spec.own)

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        chosen = [self.tasks.index(task) for task in tasks]
        groups = [self.group_of[position] for position in chosen]
        z_GBH, z_BH = self._meta(x_BD)
        z_TBH = choose(z_GBH, groups)
        task_EBH = self.own(z_TBH, private_experts(chosen, self.per_task))
        grouped_EBH = self.grouped(z_GBH).unflatten(0, (-1, self.per_group))
        task_TBE, grouped_TBE, shared_TBE = self._gate(z_TBH, z_BH, chosen).split(
            [self.per_task, self.per_group, self.shared.count], 2
        )
        h_TBH = (
            mix_private(task_TBE, task_EBH)
            + mix_private(grouped_TBE, choose(grouped_EBH, groups).flatten(0, 1))
            + mix(shared_TBE, self.shared(z_BH))
            + mix_private(self.own_self(z_TBH, chosen), task_EBH)
        )
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights at the level of tasks: of the task experts, the group experts, then the shared experts.

        Self-gates are excluded: their weights are not shares of the mixture.
        """
        chosen = [self.tasks.index(task) for task in tasks]
        z_GBH, z_BH = self._meta(x_BD)
        z_TBH = choose(z_GBH, [self.group_of[position] for position in chosen])
        return dict(zip(tasks, self._gate(z_TBH, z_BH, chosen), strict=True))

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        experts = self.shared.experts
        return (experts.weights[-1], experts.scales[-1], experts.shifts[-1])

    def _meta(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mixtures of all groups, and the common one."""
        x_BD = self.inputs(x_BD)
        grouped_EBH, shared_EBH = self.meta_grouped(x_BD), self.meta_shared(x_BD)
        grouped_GBE, shared_GBE = self.meta_gate(x_BD).split([self.per_group, self.meta_shared.count], 2)
        z_GBH = mix_private(grouped_GBE + self.meta_self(x_BD), grouped_EBH) + mix(shared_GBE, shared_EBH)
        z_1BH = mix(self.meta_shared_gate(x_BD), torch.cat([grouped_EBH, shared_EBH]))
        return z_GBH, (z_1BH + mix(self.meta_shared_self(x_BD), shared_EBH))[0]

    def _gate(self, z_TBH: Tensor, z_BH: Tensor, chosen: Sequence[int]) -> Tensor:
        return self.gate(torch.cat([z_TBH, z_BH.expand_as(z_TBH)], 2), chosen)


class SelfGates(Gates):
    """Weights of the private experts of a reader: a softmax over several, a sigmoid for a single one."""

    def forward(self, x_TBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        if self.weight.shape[2] > 1:
            return super().forward(x_TBD, chosen)
        return torch.sigmoid(batched_linear(x_TBD, choose(self.weight, chosen)))


class GatedExperts(nn.Module):
    """Normalised experts with a feature gate on their inputs, `2 sigmoid((x B_e) A_e)`, which starts at one.

    `forward` maps (B, D), or (G, B, D) for groups of experts with separate inputs, to (E, B, H).
    """

    def __init__(self, count: int, width: int, rank: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.count = count
        self.down = nn.Parameter(torch.empty(count, width, rank).uniform_(-(width**-0.5), width**-0.5))
        self.up = nn.Parameter(torch.zeros(count, rank, width))
        self.experts = NormalizedExperts(count, width, hidden, dropout)

    def __call__(self, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        return super().__call__(x_GBD, chosen)

    def forward(self, x_GBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        low_EBR = batched_linear(x_GBD, choose(self.down, chosen))
        gate_EBD = 2 * torch.sigmoid(torch.bmm(low_EBR, choose(self.up, chosen)))
        if x_GBD.dim() == 2:
            return self.experts(gate_EBD * x_GBD, chosen)
        return self.experts((gate_EBD.unflatten(0, (len(x_GBD), -1)) * x_GBD[:, None]).flatten(0, 1), chosen)
