"""Evaluation of a shared network on rows with some identical features: one user and many items.

Shape letters: B rows, D width of all features together, F width of the fixed features (identical in all rows), O width of the
others, R outputs of all maps that read features, X = O + 1 inputs, H hidden width.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.networks.shared_network import SharedNetwork


class Beside:
    """Hidden states for F features that are fixed over all rows and O features that vary.

    A linear map that reads both is `W x = W_O x_O + W_F x_F`, and the second term is computed once. It becomes a row of W_O
    with the constant input 1, so that the network runs unchanged on O + 1 features. Networks in which other modules also read
    the features receive all features. Features that are not visible are zero; if all visible features are fixed, one row is
    computed.

    `width` is R, or zero if other modules read the features. An instance uses the weights at its construction. It can be used
    from several threads at once: each thread has a copy of the maps that read features, and shares all later layers.
    """

    def __init__(self, network: SharedNetwork, varying_O: Tensor, fixed_F: Tensor, visible_D: Tensor) -> None:
        self.network, self.varying_O, self.fixed_F, self.visible_D = network, varying_O, fixed_F, visible_D
        self.sees_varying = bool(visible_D[varying_O].any())
        self.readers = network.readers()
        self._of_thread = threading.local()
        self.widths = [reader.numel() // reader.shape[1] for reader in self.readers]
        self.width = sum(self.widths)
        if self.readers:
            maps_DR = torch.cat([reader.detach().movedim(1, 0).flatten(1) for reader in self.readers], 1) * visible_D[:, None]
            self.varying_OR, self.fixed_FR = maps_DR[varying_O], maps_DR[fixed_F]

    def __call__(self, fixed_F: Tensor, varying_BO: Tensor, tasks: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the hidden state (B, H) of each requested task."""
        rows_BO = varying_BO if self.sees_varying else varying_BO[:1]
        hidden = self._run_folded(fixed_F, rows_BO, tasks) if self.readers else self._run_complete(fixed_F, rows_BO, tasks)
        return hidden if self.sees_varying else {task: h_1H.expand(len(varying_BO), -1) for task, h_1H in hidden.items()}

    def _run_complete(self, fixed_F: Tensor, varying_BO: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        x_BD = varying_BO.new_empty(len(varying_BO), len(self.visible_D))
        x_BD[:, self.fixed_F], x_BD[:, self.varying_O] = fixed_F, varying_BO
        return self.network(x_BD * self.visible_D, tasks)

    def _run_folded(self, fixed_F: Tensor, varying_BO: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        if not hasattr(self._of_thread, "network"):
            self._of_thread.network, self._of_thread.maps_XR = self._copy()
        self._of_thread.maps_XR[-1] = fixed_F @ self.fixed_FR
        return self._of_thread.network(torch.cat([varying_BO, varying_BO.new_ones(len(varying_BO), 1)], 1), tasks)

    def _copy(self) -> tuple[SharedNetwork, Tensor]:
        """Return a copy of the network whose maps read O + 1 features, and the memory of these maps, (X, R)."""
        kept: dict[int, object] = {id(tensor): tensor for tensor in (*self.network.parameters(), *self.network.buffers())}
        network = copy.deepcopy(self.network, kept)
        maps_XR = torch.cat([self.varying_OR, torch.zeros(1, self.varying_OR.shape[1])])
        weights = dict(zip(self.readers, maps_XR.split(self.widths, 1), strict=True))
        for name, parameter in [*network.named_parameters()]:
            if parameter in weights:
                rest = parameter.movedim(1, 0).shape[1:]
                place, _, last = name.rpartition(".")
                weight = weights[parameter].unflatten(1, rest).movedim(0, 1)
                setattr(network.get_submodule(place), last, nn.Parameter(weight, requires_grad=False))
        return network, maps_XR
