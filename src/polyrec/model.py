"""`Model`: encoders, shared network and heads in one module.

Shape letters: B rows, L length of a history, K width of a feature, D width of all features together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.core.batch import Batch, Padded
from polyrec.features.feature import Encoder, Feature, State
from polyrec.features.history import History, HistoryPooling
from polyrec.networks.network import Network, SharedNetwork
from polyrec.tasks.task import Head, Task


class Model(nn.Module):
    """Features to raw outputs of every task.

    Tasks that see the same features form a group; the shared network runs once for each group, with the vectors of the
    features that the group may not see set to zero. Most declarations have one group.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        feature_states: Mapping[str, State],
        tasks: Sequence[Task],
        task_states: Mapping[str, State],
        network: Network,
        visible: Mapping[str, frozenset[str]],
    ) -> None:
        super().__init__()
        widths = {feature.name: feature.width for feature in features}
        self.features, self.tasks = tuple(features), tuple(task.name for task in tasks)
        self.encoders = nn.ModuleDict()
        self.poolings = nn.ModuleDict()
        for feature in features:
            if isinstance(feature, History):
                self.poolings[feature.name] = feature.build_pooling(widths[feature.of])
            else:
                self.encoders[feature.name] = feature.build(feature_states[feature.name])
        self.network: SharedNetwork = network.build(tuple(widths.values()), self.tasks)
        self.heads = nn.ModuleDict({task.name: task.build(self.network.width, task_states[task.name]) for task in tasks})
        self.groups = _groups(self.tasks, visible)
        for position, names in enumerate(self.groups):
            kept = [torch.full((widths[f.name],), float(f.name in names)) for f in features]
            self.register_buffer(f"visible_{position}", torch.cat(kept), persistent=False)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return super().__call__(batch)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the raw outputs (B,) or (B, C) of every task."""
        x_BD = self.encode(batch)
        hidden: dict[str, Tensor] = {}
        for position, tasks in enumerate(self.groups.values()):
            hidden |= self.network(self._masked(x_BD, position), tasks)
        return {task: self._head(task)(hidden[task]) for task in self.tasks}

    def encode(self, batch: Batch) -> Tensor:
        """Return the vectors of all features side by side, (B, D)."""
        vectors = [
            self._history(feature, batch)
            if isinstance(feature, History)
            else self._encoder(feature.name)(batch.inputs[feature.name])
            for feature in self.features
        ]
        return torch.cat(vectors, 1)

    def gates(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weight (B, E) that each task gives each expert; empty for networks without gates."""
        x_BD = self.encode(batch)
        found: dict[str, Tensor] = {}
        for position, tasks in enumerate(self.groups.values()):
            found |= self.network.gates(self._masked(x_BD, position), tasks)
        return found

    def _history(self, feature: History, batch: Batch) -> Tensor:
        past = batch.inputs[feature.name]
        assert isinstance(past, Padded)
        x_MK = self._encoder(feature.of)(past.elements)
        pooling = self.poolings[feature.name]
        assert isinstance(pooling, HistoryPooling)
        return pooling(x_MK.view(*past.mask_BL.shape, x_MK.shape[1]), past.mask_BL)

    def _masked(self, x_BD: Tensor, position: int) -> Tensor:
        mask_D = self.get_buffer(f"visible_{position}")
        return x_BD if bool(mask_D.all()) else x_BD * mask_D

    def _encoder(self, name: str) -> Encoder:
        encoder = self.encoders[name]
        assert isinstance(encoder, Encoder)
        return encoder

    def _head(self, name: str) -> Head:
        head = self.heads[name]
        assert isinstance(head, Head)
        return head


def _groups(tasks: Sequence[str], visible: Mapping[str, frozenset[str]]) -> dict[frozenset[str], list[str]]:
    groups: dict[frozenset[str], list[str]] = {}
    for task in tasks:
        groups.setdefault(visible[task], []).append(task)
    return groups
