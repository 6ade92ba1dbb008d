"""`Encoders`: the concatenated vectors of all features of a row.

Shape letters: B rows, M elements, K width of a feature, D width of all features, U ids.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from polyrec.core.batch import Batch, Input, Repeated
from polyrec.features.categorical import Categorical, drop_ids
from polyrec.features.derived import Derived, DerivedEncoder
from polyrec.features.feature import Encoder, Feature, Rates, State
from polyrec.features.numeric import Numeric
from polyrec.layers.named import Named
from polyrec.layers.shared_linear import SharedLinear
from polyrec.layers.shared_table import SharedTable

_DENSE = "/graph"
"""Name suffix of a table that every step reads completely; its update is dense."""


class Encoders(nn.Module):
    """One encoder per feature; features of equal kind and width share a batched one. Derived features read other encoders.

    `fields` maps the features to their widths, in the order in which their vectors are concatenated: ids first, grouped by
    table, then numbers grouped by width, then the rest as declared. Features replaced by a derived one, such as the two of a
    joint, are not in it.
    """

    def __init__(self, features: Sequence[Feature], states: Mapping[str, State]) -> None:
        super().__init__()
        derived = [feature for feature in features if isinstance(feature, Derived)]
        self.read_densely = {name for feature in derived for name in feature.tables}
        self.features = {feature.name: feature for feature in sorted(features, key=self._place)}
        replaced = {name for feature in derived for name in feature.replaces}
        self.fields = {name: feature.width for name, feature in self.features.items() if name not in replaced}
        self.shared, self.numbers = Named[SharedTable](), Named[SharedLinear]()
        self.encoders, self.derived = Named[Encoder](), Named[DerivedEncoder]()
        widths = {name: feature.width for name, feature in self.features.items()}
        for group, members in groupby(self.features.values(), self._group):
            first, *others = members
            if isinstance(first, Categorical):
                rows = {ids.name: ids.rows(states[ids.name]) for ids in (first, *others) if isinstance(ids, Categorical)}
                self.shared[group] = SharedTable(rows, first.width)
            elif isinstance(first, Numeric):
                self.numbers[group] = SharedLinear([first.name, *(feature.name for feature in others)], 2, first.width)
            elif isinstance(first, Derived):
                self.derived[group] = first.build_derived(widths, states.get(group))
            else:
                self.encoders[group] = first.build(states[group])

    def __call__(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        return super().__call__(batch, only)

    def forward(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        """Return the concatenated vectors of all features, or of the features in `only`, (B, D), in the order of `fields`."""
        requested = [self.features[name] for name in self.fields if only is None or name in only]
        for name in self.derived:
            self.derived[name].begin()
        reader = BatchReader(self, batch, requested)
        parts = []
        for group, members in groupby(requested, self._group):
            names = [feature.name for feature in members]
            if group in self.shared:
                parts.append(self.shared[group](names, [reader.ids(name) for name in names]))
            elif group in self.numbers:
                parts.append(self.numbers[group](names, [_tensor(batch.inputs[name]) for name in names]))
            elif group in self.derived:
                parts.append(self.derived[group](reader))
            else:
                parts.append(self.encoders[group](batch.inputs[group]))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the embedding tables of ids."""
        dense = [self.shared[group].table for group in self.shared if group.endswith(_DENSE)]
        return [*dense, *self.tables_by_rows()]

    def tables_by_rows(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the embedding tables of which a batch reads only some rows; a graph reads all rows at every step."""
        shared = [self.shared[group].table for group in self.shared if not group.endswith(_DENSE)]
        return [*shared, *(table for name in self.encoders for table in self.encoders[name].tables())]

    @torch.no_grad()
    def take_rows(self, other: Encoders, rows: Mapping[str, Tensor]) -> None:
        """Set row i of the table of each feature to row `rows[feature][i]` of the other model's table."""
        for group in self.shared:
            for name in self.shared[group].rows:
                self.shared[group].of(name).copy_(other.shared[group].of(name)[rows[name]])
        for name in self.encoders:
            if name in rows:
                for table, before in zip(self.encoders[name].tables(), other.encoders[name].tables(), strict=True):
                    table.weight.copy_(before.weight[rows[name]])

    def rates(self) -> Rates:
        """Return the parameters with their own learning rate."""
        return [rate for name in self.encoders for rate in self.encoders[name].rates()]

    def drop(self, name: str, ids: Tensor) -> Tensor:
        """Return ids of a Categorical feature after its id dropout."""
        feature = self.features[name]
        assert isinstance(feature, Categorical)
        return drop_ids(ids, feature.id_dropout) if self.training else ids

    def table(self, name: str) -> SharedTable:
        """Return the table with the embedding rows of a Categorical feature."""
        return self.shared[self._group(self.features[name])]

    def elements(self, reader: BatchReader, name: str, values: Input) -> Tensor:
        """Return the vectors (M, K) of values, encoded like values of the feature `name`."""
        group = self._group(self.features[name])
        if group in self.derived:
            return self.derived[group].elements(reader, values)
        if group in self.shared:
            return self.shared[group].lookup(name, self.drop(name, _tensor(values)))
        if group in self.numbers:
            return self.numbers[group]([name], [_tensor(values)])
        encoder = self.encoders[name]
        if isinstance(values, Repeated) and not encoder.reads_repeated:
            return encoder(values.elements).index_select(0, values.index_B)
        return encoder(values)

    def _place(self, feature: Feature) -> tuple[int, int, bool]:
        if isinstance(feature, Categorical):
            return 0, feature.width, feature.name in self.read_densely
        return (1, feature.width, False) if isinstance(feature, Numeric) else (2, 0, False)

    def _group(self, feature: Feature) -> str:
        """Return the name of a feature's encoder; shared encoders have a slash in it, which feature names cannot have."""
        if isinstance(feature, Categorical):
            return f"ids/{feature.width}" + (_DENSE if feature.name in self.read_densely else "")
        return f"numbers/{feature.width}" if isinstance(feature, Numeric) else feature.name


class BatchReader:
    """Access of derived features to one batch.

    Id dropout of the requested features is drawn once, before any other random number, so that a graph or joint reads the
    same ids after dropout.
    """

    def __init__(self, encoders: Encoders, batch: Batch, requested: Sequence[Feature]) -> None:
        self.encoders, self.batch = encoders, batch
        names = [name for feature in requested for name in (feature.ids if isinstance(feature, Derived) else (feature.name,))]
        read = [name for name in dict.fromkeys(names) if isinstance(encoders.features[name], Categorical)]
        self._ids = {name: encoders.drop(name, _tensor(batch.inputs[name])) for name in read}

    def vectors(self, name: str) -> Tensor:
        if name in self._ids:
            return self.lookup(name, self._ids[name])
        derived = self.encoders.derived
        return derived[name](self) if name in derived else self.elements(name, self.input(name))

    def ids(self, name: str) -> Tensor:
        return self._ids[name]

    def input(self, name: str) -> Input:
        derived = self.encoders.derived
        return self.batch.inputs[name] if name in self.batch.inputs else derived[name].input(self.batch)

    def dropped(self, name: str, ids: Tensor) -> Tensor:
        return self.encoders.drop(name, ids)

    def lookup(self, name: str, ids: Tensor) -> Tensor:
        return self.encoders.table(name).lookup(name, ids)

    def table(self, name: str) -> Tensor:
        return self.encoders.table(name).of(name)

    def elements(self, name: str, values: Input) -> Tensor:
        return self.encoders.elements(self, name, values)


def _tensor(values: Input) -> Tensor:
    assert isinstance(values, Tensor)
    return values
