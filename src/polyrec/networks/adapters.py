"""Adapters: features to which each task also listens by itself.

Shape letters: B rows, D width of all features together, F width of those listened to, R rank, T tasks, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.errors import UserError, nearest
from polyrec.core.spec import Spec
from polyrec.layers.experts import batched_linear, choose
from polyrec.networks.shared_network import SharedNetwork


class Adapters(Spec):
    """What a task hears in some features beyond what all tasks share: `h_t = shared_t(x) + U_t V_t x_F`, of a low rank.

    One task may live by a text and another ignore it; a shared network has one ear for both. Each task's own map starts at
    nothing (U_t = 0, as in LoRA; Hu et al., ICLR 2022), where the network is the one without adapters. Maps of all tasks are
    one batched product. The adapters are read with the features as each task may see them: those outside its `inputs` are zero.
    """

    features: tuple[str, ...] = Field(min_length=1)
    """Names of the features, such as a Text or the Joint that holds it."""
    rank: int = Field(default=8, gt=0)
    """Rank R of each task's map."""
    stop_gradient: bool = False
    """Whether the tasks' own maps leave the features as they are: these then learn from what is shared alone, and no task pulls
    them its way through its adapter."""

    def build(self, shared: SharedNetwork, fields: Mapping[str, int], tasks: Sequence[str], copies: int) -> SharedNetwork:
        """Put the adapters beside a shared network that reads so many copies of fields of these widths."""
        for name in self.features:
            if name not in fields:
                thing, remedy = f"adapter of the feature {name!r}", nearest(name, fields)
                raise UserError(thing, expected="a feature's name", found="no such feature", remedy=remedy)
        heard = torch.cat([torch.full((width,), name in self.features) for name, width in fields.items()]).repeat(copies)
        return AdaptedNetwork(shared, heard.nonzero().squeeze(1), tasks, self.rank, self.stop_gradient)


class AdaptedNetwork(SharedNetwork):
    """A shared network with each task's adapters beside it."""

    def __init__(self, shared: SharedNetwork, heard_F: Tensor, tasks: Sequence[str], rank: int, stop_gradient: bool) -> None:
        super().__init__()
        self.shared, self.width, self.stop_gradient = shared, shared.width, stop_gradient
        self.places = {name: place for place, name in enumerate(tasks)}
        self.register_buffer("heard_F", heard_F, persistent=False)
        bound = len(heard_F) ** -0.5
        self.down = nn.Parameter(torch.empty(len(tasks), len(heard_F), rank).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(len(tasks), rank, shared.width))

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        own = self.own(x_BD, tasks)
        return {name: h_BH + own[name] for name, h_BH in self.shared(x_BD, tasks).items()}

    def own(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return what the adapters alone add to the hidden state (B, H) of each of the tasks asked for."""
        chosen = [self.places[name] for name in tasks]
        x_BF = x_BD.index_select(1, self.get_buffer("heard_F"))
        h_TBR = batched_linear(x_BF.detach() if self.stop_gradient else x_BF, choose(self.down, chosen))
        return dict(zip(tasks, batched_linear(h_TBR, choose(self.up, chosen)), strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        return self.shared.gates(x_BD, tasks)

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return self.shared.last_shared()
