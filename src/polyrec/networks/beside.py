"""A shared network over rows that agree in some of their features: one user beside many items.

Shape letters: B rows, D width of all features together, F width of those that all rows agree in, O width of the others, R
outputs of all the maps that read features, H hidden width.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.networks.shared_network import SharedNetwork


class Beside:
    """Hidden states for F features that are the same in all rows and O that are each row's own.

    A linear map that reads both is `W x = W_O x_O + W_F x_F`, and the second term is computed once. It becomes a row of W_O
    that reads a constant one, so that the network runs as it is, over O + 1 features. Networks of which something else reads
    the features are given them whole. Features that are not visible count as zero; where all that is visible is the same in
    all rows, one row is computed.

    `width` is R, zero where something else reads the features. The weights are those of the time when this is made. It may be
    used from several threads at once: each has a copy of the maps that read features, and shares everything above them.
    """

    def __init__(self, network: SharedNetwork, own_O: Tensor, fixed_F: Tensor, visible_D: Tensor) -> None:
        self.network, self.own_O, self.fixed_F, self.visible_D = network, own_O, fixed_F, visible_D
        self.sees_own = bool(visible_D[own_O].any())
        self.readers = network.readers()
        self._of_thread = threading.local()
        self.widths = [reader.numel() // reader.shape[1] for reader in self.readers]
        self.width = sum(self.widths)
        if self.readers:
            maps_DR = torch.cat([reader.detach().movedim(1, 0).flatten(1) for reader in self.readers], 1) * visible_D[:, None]
            self.own_OR, self.fixed_FR = maps_DR[own_O], maps_DR[fixed_F]

    def __call__(self, fixed_F: Tensor, own_BO: Tensor, tasks: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the hidden state (B, H) of each of the tasks asked for."""
        rows_BO = own_BO if self.sees_own else own_BO[:1]
        hidden = self._folded(fixed_F, rows_BO, tasks) if self.readers else self._whole(fixed_F, rows_BO, tasks)
        return hidden if self.sees_own else {task: h_1H.expand(len(own_BO), -1) for task, h_1H in hidden.items()}

    def _whole(self, fixed_F: Tensor, own_BO: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        x_BD = own_BO.new_empty(len(own_BO), len(self.visible_D))
        x_BD[:, self.fixed_F], x_BD[:, self.own_O] = fixed_F, own_BO
        return self.network(x_BD * self.visible_D, tasks)

    def _folded(self, fixed_F: Tensor, own_BO: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        if not hasattr(self._of_thread, "network"):
            self._of_thread.network, self._of_thread.maps_XR = self._copy()
        self._of_thread.maps_XR[-1] = fixed_F @ self.fixed_FR
        return self._of_thread.network(torch.cat([own_BO, own_BO.new_ones(len(own_BO), 1)], 1), tasks)

    def _copy(self) -> tuple[SharedNetwork, Tensor]:
        """Return the network with maps of its own that read O + 1 features, and the memory of these maps, (O + 1, R)."""
        kept: dict[int, object] = {id(tensor): tensor for tensor in (*self.network.parameters(), *self.network.buffers())}
        network = copy.deepcopy(self.network, kept)
        maps_XR = torch.cat([self.own_OR, torch.zeros(1, self.own_OR.shape[1])])
        own = dict(zip(self.readers, maps_XR.split(self.widths, 1), strict=True))
        for name, parameter in [*network.named_parameters()]:
            if parameter in own:
                rest = parameter.movedim(1, 0).shape[1:]
                place, _, last = name.rpartition(".")
                weight = own[parameter].unflatten(1, rest).movedim(0, 1)
                setattr(network.get_submodule(place), last, nn.Parameter(weight, requires_grad=False))
        return network, maps_XR
