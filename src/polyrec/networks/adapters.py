"""Adapters: per-task low-rank maps of selected features.

Shape letters: B rows, D width of all features together, F width of the adapted ones, R rank, T tasks, H hidden width.
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
    """Per-task residual of some features, added to the shared representation: `h_t = shared_t(x) + U_t V_t x_F`, of low rank.

    One task may depend on a text that another ignores; a shared network must represent both. The map of each task starts at
    zero (U_t = 0, as in LoRA; Hu et al., ICLR 2022), so that training starts from the network without adapters. The maps of all
    tasks are one batched product. Adapters read the features as visible to each task: those outside its `inputs` are zero.
    """

    features: tuple[str, ...] = Field(min_length=1)
    """Names of the features, such as a Text or the Joint that contains it."""
    rank: int = Field(default=8, gt=0)
    """Rank R of each task's map."""
    stop_gradient: bool = False
    """Set `stop_gradient` to stop gradients of the adapters at the features: these then learn from the shared network only, and
    no task changes them through its adapter."""

    def build(self, shared: SharedNetwork, fields: Mapping[str, int], tasks: Sequence[str], copies: int) -> SharedNetwork:
        """Add the adapters to a shared network that reads `copies` copies of fields of these widths."""
        for name in self.features:
            if name not in fields:
                thing, remedy = f"adapter of the feature {name!r}", nearest(name, fields)
                raise UserError(thing, expected="a feature's name", found="no such feature", remedy=remedy)
        is_adapted = torch.cat([torch.full((width,), name in self.features) for name, width in fields.items()]).repeat(copies)
        return AdaptedNetwork(shared, is_adapted.nonzero().squeeze(1), tasks, self.rank, self.stop_gradient)


class AdaptedNetwork(SharedNetwork):
    """Shared network with per-task adapters."""

    def __init__(self, shared: SharedNetwork, adapted_F: Tensor, tasks: Sequence[str], rank: int, stop_gradient: bool) -> None:
        super().__init__()
        self.shared, self.width, self.stop_gradient = shared, shared.width, stop_gradient
        self.places = {name: place for place, name in enumerate(tasks)}
        self.register_buffer("adapted_F", adapted_F, persistent=False)
        bound = len(adapted_F) ** -0.5
        self.down = nn.Parameter(torch.empty(len(tasks), len(adapted_F), rank).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(len(tasks), rank, shared.width))

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        residuals = self.residuals(x_BD, tasks)
        return {name: h_BH + residuals[name] for name, h_BH in self.shared(x_BD, tasks).items()}

    def residuals(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the contribution of the adapters to the hidden state (B, H) of each requested task."""
        chosen = [self.places[name] for name in tasks]
        x_BF = x_BD.index_select(1, self.get_buffer("adapted_F"))
        h_TBR = batched_linear(x_BF.detach() if self.stop_gradient else x_BF, choose(self.down, chosen))
        return dict(zip(tasks, batched_linear(h_TBR, choose(self.up, chosen)), strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        return self.shared.gates(x_BD, tasks)

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return self.shared.last_shared()
