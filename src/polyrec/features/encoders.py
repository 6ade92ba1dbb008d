"""`Encoders`: the vectors of all features of a row, side by side.

Shape letters: B rows, L length of a history, M elements of all histories, K width of a feature, D width of all features, U ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyrec.core.batch import Batch, Padded
from polyrec.features.categorical import CategoricalEncoder
from polyrec.features.feature import Encoder, Feature, State
from polyrec.features.history import History, HistoryPooling
from polyrec.features.light_gcn import GraphEncoder, LightGCN
from polyrec.layers.named import Named


class Encoders(nn.Module):
    """One encoder a feature. Histories and graphs read the tables of the features that they are of."""

    def __init__(self, features: Sequence[Feature], states: Mapping[str, State]) -> None:
        super().__init__()
        widths = {feature.name: feature.width for feature in features}
        self.features = tuple(features)
        self.fields = widths
        self.encoders, self.poolings, self.graphs = Named[Encoder](), Named[HistoryPooling](), Named[GraphEncoder]()
        self.in_graphs = sorted({feature.of for feature in features if isinstance(feature, LightGCN)})
        self._propagated: dict[str, Tensor] = {}
        for feature in features:
            if isinstance(feature, History):
                self.poolings[feature.name] = feature.build_pooling(widths[feature.of])
            elif isinstance(feature, LightGCN):
                self.graphs[feature.name] = feature.build(states[feature.name])
            else:
                self.encoders[feature.name] = feature.build(states[feature.name])

    def __call__(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        return super().__call__(batch, only)

    def forward(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        """Return the vectors of all features side by side, (B, D), or of `only` some, in the order of `fields`."""
        asked = [feature for feature in self.features if only is None or feature.name in only]
        ids = {name: self._drop(name, batch) for name in self.in_graphs if name in batch.inputs}
        return torch.cat([self._vector(feature, batch, ids) for feature in asked], 1)

    def train(self, mode: bool = True) -> Encoders:
        """Switch to training or back; what was propagated over graphs is forgotten, for the tables may have changed."""
        self._propagated.clear()
        return super().train(mode)

    def tables(self) -> list[nn.Embedding]:
        """Return the tables of ids, which are updated by rows where training is sparse."""
        every = (self.encoders[name] for name in self.encoders)
        return [encoder.table for encoder in every if isinstance(encoder, CategoricalEncoder)]

    def _drop(self, name: str, batch: Batch) -> Tensor:
        """Return ids with id dropout drawn once, so that an id that is dropped does not show through its graph."""
        encoder, ids_B = self.encoders[name], batch.inputs[name]
        assert isinstance(encoder, CategoricalEncoder) and isinstance(ids_B, Tensor)
        return encoder.drop(ids_B)

    def _vector(self, feature: Feature, batch: Batch, ids: Mapping[str, Tensor]) -> Tensor:
        if isinstance(feature, History):
            return self._history(feature, batch)
        if isinstance(feature, LightGCN):
            return functional.embedding(ids[feature.of], self._graph(feature))
        encoder = self.encoders[feature.name]
        if feature.name in ids:
            assert isinstance(encoder, CategoricalEncoder)
            return encoder.table(ids[feature.name])
        return encoder(batch.inputs[feature.name])

    def _history(self, feature: History, batch: Batch) -> Tensor:
        past = batch.inputs[feature.name]
        assert isinstance(past, Padded)
        encoder = self.encoders[feature.of]
        x_MK = encoder(past.elements)
        x_BLK = x_MK.view(*past.mask_BL.shape, x_MK.shape[1])
        target_BK = encoder(batch.inputs[feature.of]) if feature.pooling.sees_target else x_BLK[:, -1]
        return self.poolings[feature.name](x_BLK, past.mask_BL, target_BK)

    def _graph(self, feature: LightGCN) -> Tensor:
        """Return the propagated table (U, K); outside training it is computed once."""
        if feature.name in self._propagated and not torch.is_grad_enabled():
            return self._propagated[feature.name]
        own, other = self.encoders[feature.of], self.encoders[feature.to]
        assert isinstance(own, CategoricalEncoder) and isinstance(other, CategoricalEncoder)
        table_UK = self.graphs[feature.name](own.table.weight, other.table.weight)
        if not self.training and not torch.is_grad_enabled():
            self._propagated[feature.name] = table_UK
        return table_UK
