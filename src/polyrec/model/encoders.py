"""`Encoders`: the vectors of all features of a row, side by side.

Shape letters: B rows, L length of a history, M elements of all histories, K width of a feature, D width of all features, U ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyrec.core.batch import Batch, Input, Padded, Pair, Repeated
from polyrec.features.categorical import Categorical, drop_ids
from polyrec.features.feature import Encoder, Feature, Rates, State
from polyrec.features.history import History, HistoryPooling
from polyrec.features.joint import Joint, JointEncoder
from polyrec.features.light_gcn import GraphEncoder, LightGCN
from polyrec.features.numeric import Numeric
from polyrec.layers.named import Named
from polyrec.layers.shared_linear import SharedLinear
from polyrec.layers.shared_table import SharedTable

_IN_GRAPH = "/graph"


class Encoders(nn.Module):
    """One encoder a feature, those of one shape together. Histories, graphs and joints read those of the features they are of.

    `fields` names the features in the order in which their vectors are laid side by side, with their widths: ids first, those
    that share a table next to one another, then numbers of one width, then the rest as declared. The two features of a joint
    are laid out as the joint alone.
    """

    def __init__(self, features: Sequence[Feature], states: Mapping[str, State]) -> None:
        super().__init__()
        self.in_graphs = {name for own in features if isinstance(own, LightGCN) for name in (own.of, own.to)}
        self.features = {feature.name: feature for feature in sorted(features, key=self._place)}
        self.in_joints = {name for own in features if isinstance(own, Joint) for name in own.parts}
        self.fields = {name: own.width for name, own in self.features.items() if name not in self.in_joints}
        self.shared, self.numbers = Named[SharedTable](), Named[SharedLinear]()
        self.encoders, self.poolings, self.graphs = Named[Encoder](), Named[HistoryPooling](), Named[GraphEncoder]()
        self.joints = Named[JointEncoder]()
        self._propagated: dict[str, Tensor] = {}
        self._alone = {name: own.alone for name, own in self.features.items() if isinstance(own, Joint) and own.alone > 0}
        self._counts: dict[str, Tensor] = {}
        for group, members in groupby(self.features.values(), self._group):
            first, *others = members
            if isinstance(first, Categorical):
                rows = {own.name: own.rows(states[own.name]) for own in (first, *others) if isinstance(own, Categorical)}
                self.shared[group] = SharedTable(rows, first.width)
            elif isinstance(first, Numeric):
                self.numbers[group] = SharedLinear([first.name, *(own.name for own in others)], 2, first.width)
            elif isinstance(first, History):
                self.poolings[group] = first.build_pooling(self.features[first.of].width)
            elif isinstance(first, LightGCN):
                self.graphs[group] = first.build(states[group])
            elif isinstance(first, Joint):
                self.joints[group] = first.build_joint(*(self.features[name].width for name in first.parts))
            else:
                self.encoders[group] = first.build(states[group])

    def __call__(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        return super().__call__(batch, only)

    def forward(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        """Return the vectors of all features side by side, (B, D), or of `only` some, in the order of `fields`."""
        asked = [self.features[name] for name in self.fields if only is None or name in only]
        self._counts = self._draw_counts()
        ids = {name: self._ids(name, batch) for name in self._read_as_ids(asked)}
        parts = []
        for group, members in groupby(asked, self._group):
            names = [feature.name for feature in members]
            if group in self.shared:
                parts.append(self.shared[group](names, [ids[name] for name in names]))
            elif group in self.numbers:
                parts.append(self.numbers[group](names, [_tensor(batch.inputs[name]) for name in names]))
            else:
                parts.append(self._vector(self.features[group], batch, ids))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def train(self, mode: bool = True) -> Encoders:
        """Switch to training or back; what was propagated over graphs is forgotten, for the tables may have changed."""
        self._propagated.clear()
        return super().train(mode)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the tables of ids."""
        in_graphs = [self.shared[group].table for group in self.shared if group.endswith(_IN_GRAPH)]
        return [*in_graphs, *self.tables_by_rows()]

    def tables_by_rows(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the tables of which a batch reads some rows only; a graph reads all rows of its own at every step."""
        shared = [self.shared[group].table for group in self.shared if not group.endswith(_IN_GRAPH)]
        return [*shared, *(table for name in self.encoders for table in self.encoders[name].tables())]

    @torch.no_grad()
    def take_rows(self, other: Encoders, rows: Mapping[str, Tensor]) -> None:
        """Take the tables of ids from another's: of each feature the rows named, one for each of its own."""
        for group in self.shared:
            for name in self.shared[group].rows:
                self.shared[group].of(name).copy_(other.shared[group].of(name)[rows[name]])
        for name in self.encoders:
            if name in rows:
                for own, before in zip(self.encoders[name].tables(), other.encoders[name].tables(), strict=True):
                    own.weight.copy_(before.weight[rows[name]])

    def rates(self) -> Rates:
        """Return the weights whose steps are of a size of their own."""
        return [own for name in self.encoders for own in self.encoders[name].rates()]

    def _place(self, feature: Feature) -> tuple[int, int, bool]:
        if isinstance(feature, Categorical):
            return 0, feature.width, feature.name in self.in_graphs
        return (1, feature.width, False) if isinstance(feature, Numeric) else (2, 0, False)

    def _group(self, feature: Feature) -> str:
        """Return the name of what a feature is encoded with; a slash keeps it apart from the names of features."""
        if isinstance(feature, Categorical):
            return f"ids/{feature.width}" + (_IN_GRAPH if feature.name in self.in_graphs else "")
        return f"numbers/{feature.width}" if isinstance(feature, Numeric) else feature.name

    def _read_as_ids(self, asked: Sequence[Feature]) -> list[str]:
        names = [_id_of(feature) for feature in asked]
        return [name for name in dict.fromkeys(names) if isinstance(self.features[name], Categorical)]

    def _ids(self, name: str, batch: Batch) -> Tensor:
        """Return ids with id dropout drawn once, so that an id that is dropped does not show through its graph."""
        return self._drop(name, _tensor(batch.inputs[name]))

    def _drop(self, name: str, ids: Tensor) -> Tensor:
        feature = self.features[name]
        assert isinstance(feature, Categorical)
        return drop_ids(ids, feature.id_dropout) if self.training else ids

    def _vector(self, feature: Feature, batch: Batch, ids: Mapping[str, Tensor]) -> Tensor:
        if isinstance(feature, History):
            return self._history(feature, batch)
        if isinstance(feature, LightGCN):
            return functional.embedding(ids[feature.of], self._graph(feature))
        if isinstance(feature, Joint):
            return self._joint(feature, ids[feature.id], batch.inputs[feature.content])
        return self.encoders[feature.name](batch.inputs[feature.name])

    def _history(self, feature: History, batch: Batch) -> Tensor:
        past = batch.inputs[feature.name]
        assert isinstance(past, Padded)
        x_MK = self._element(feature.of, past.elements)
        x_BLK = x_MK.view(*past.mask_BL.shape, x_MK.shape[1])
        sees_target = feature.pooling.sees_target
        target_BK = self._element(feature.of, self._input(feature.of, batch)) if sees_target else x_BLK[:, -1]
        return self.poolings[feature.name](x_BLK, past.mask_BL, target_BK)

    def _element(self, name: str, values: Input) -> Tensor:
        """Return the vectors (M, K) of elements read through one feature."""
        feature = self.features[name]
        group = self._group(feature)
        if isinstance(feature, Joint):
            assert isinstance(values, Pair)
            return self._joint(feature, self._drop(feature.id, _tensor(values.first)), values.second)
        if group in self.shared:
            return self.shared[group].lookup(name, self._drop(name, _tensor(values)))
        if group in self.numbers:
            return self.numbers[group]([name], [_tensor(values)])
        encoder = self.encoders[name]
        if isinstance(values, Repeated) and not encoder.reads_repeated:
            return encoder(values.elements).index_select(0, values.index_B)
        return encoder(values)

    def _draw_counts(self) -> dict[str, Tensor]:
        """Return for each joint that is to stand alone in some batches whether its ids count in this one, (1,)."""
        return {name: torch.rand(1) >= share for name, share in self._alone.items()} if self.training else {}

    def _input(self, name: str, batch: Batch) -> Input:
        """Return the row's own input of a feature, or of the two of a joint."""
        feature = self.features[name]
        if isinstance(feature, Joint):
            return Pair(batch.inputs[feature.id], batch.inputs[feature.content])
        return batch.inputs[name]

    def _joint(self, feature: Joint, ids: Tensor, content: Input) -> Tensor:
        """Return the vectors (M, K) of ids, dropped already where they are to be, with their content."""
        if feature.name in self._counts:
            ids = ids * self._counts[feature.name]
        table = self.shared[self._group(self.features[feature.id])]
        return self.joints[feature.name](table.lookup(feature.id, ids), ids > 0, self._element(feature.content, content))

    def _graph(self, feature: LightGCN) -> Tensor:
        """Return the propagated table (U, K); outside training it is computed once."""
        if feature.name in self._propagated and not torch.is_grad_enabled():
            return self._propagated[feature.name]
        own, other = (self.shared[self._group(self.features[name])].of(name) for name in (feature.of, feature.to))
        table_UK = self.graphs[feature.name](own, other)
        if not self.training and not torch.is_grad_enabled():
            self._propagated[feature.name] = table_UK
        return table_UK


def _id_of(feature: Feature) -> str:
    """Return the name of the id that a graph or a joint is of, else the feature's own."""
    if isinstance(feature, LightGCN):
        return feature.of
    return feature.id if isinstance(feature, Joint) else feature.name


def _tensor(values: Input) -> Tensor:
    assert isinstance(values, Tensor)
    return values
