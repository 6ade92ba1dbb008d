"""LightGCN: an id as its neighbourhood in the graph of interactions.

Shape letters: U values of the id `of`, V values of the id `to`, E edges, K width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Self

import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from polyrec.core.batch import Column, Dense
from polyrec.core.errors import nearest
from polyrec.features.categorical import Categorical
from polyrec.features.derived import Derived, DerivedEncoder, Reader, Scope
from polyrec.features.feature import State
from polyrec.layers.propagation import Propagation

OWN, OTHER = "own", "other"
"""Columns of the state: the two ends of an edge, as numbers in the two vocabularies."""


class LightGCN(Derived):
    """The row's id `of` as the mean of its embeddings over the layers of light graph convolution (He et al., SIGIR 2020):
    `e_u = sum_l e_u^(l) / (L + 1)`, l from 0 to L, the number of layers.

    `e_u^(0)` is the embedding of u; `e_u^(l+1) = sum_i e_i^(l) / sqrt(degree_u degree_i)`, and likewise for the items i.
    The feature shares the embedding tables of the two Categorical features, so all three have equal widths. Edges are the
    distinct pairs of the two ids in the TRAINING rows. Unlike in the paper, values can be unseen, rare or null. These have
    number 0 and no edges, since one node for all of them would connect unrelated values; they keep embedding 0 unchanged. Other
    values without edges keep their embedding, too. State: `own`, `other`.

    Unlike a `History`, it has no `where`. A history contains rows before a row's time, whose labels are past. The graph
    contains the training rows themselves: if edges were selected by label, the presence of its edge would reveal the label of
    a training row, but not that of a later row.
    """

    examples = (
        {"name": "neighbours", "of": "user_id", "to": "item_id"},
        {"name": "buyers", "of": "item_id", "to": "user_id", "layers": 3, "width": 8},
    )

    of: str
    """Name of the Categorical feature, on the same side, whose values are smoothed over their neighbours."""
    to: str
    """Name of the Categorical feature, on the other side, whose values are the neighbours."""
    layers: int = Field(default=2, ge=1)
    """Number of layers: the maximum distance of a neighbour, in edges."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.of == self.to:
            raise ValueError(f"`of` and `to` are both {self.of!r}; name a feature of each side")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        return self.of, self.to

    @property
    def ids(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def tables(self) -> tuple[str, ...]:
        return self.of, self.to

    def check(self, scope: Scope) -> None:
        thing = f"graph {self.name!r}"
        sides = {name: side for name, side in scope.sides.items() if side != "features"}
        for name in self.reads:
            read = scope.features.get(name)
            if not isinstance(read, Categorical) or name not in sides:
                options = [key for key in sides if isinstance(scope.features[key], Categorical)]
                raise ValueError(f"{thing} needs {name!r} as a Categorical of user or item. {nearest(name, options)}")
            if read.width != self.width:
                raise ValueError(f"{thing} has width {self.width} and {name!r} width {read.width}: they must be equal")
        if sides.get(self.name) != sides[self.of] or sides[self.of] == sides[self.to]:
            raise ValueError(f"{thing} belongs on the side of {self.of!r}, and {self.to!r} on the other side")

    def fit_derived(self, encoded: Callable[[str], Column]) -> State:
        columns = [encoded(name) for name in self.reads]
        return self.fit_edges(*(pl.Series(column.values_N.numpy()) for column in columns if isinstance(column, Dense)))

    def fit_edges(self, left_numbers: pl.Series, right_numbers: pl.Series) -> State:
        """Return the distinct pairs of encoded values of the training rows."""
        pairs = pl.DataFrame({OWN: left_numbers.cast(pl.Int32), OTHER: right_numbers.cast(pl.Int32)})
        return pairs.filter((pl.col(OWN) > 0) & (pl.col(OTHER) > 0)).unique().sort(OWN, OTHER)

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> GraphEncoder:
        assert state is not None
        return GraphEncoder(state[OWN].to_torch(), state[OTHER].to_torch(), self.layers, self.of, self.to)


class GraphEncoder(DerivedEncoder):
    """Propagates two embedding tables (U, K) and (V, K) through the graph, then looks up the rows' ids in the first."""

    def __init__(self, left_E: Tensor, right_E: Tensor, layers: int, of: str, to: str) -> None:
        super().__init__()
        self.propagation = Propagation(left_E, right_E, layers)
        self.left_name, self.right_name = of, to
        self._kept: Tensor | None = None

    def forward(self, reader: Reader) -> Tensor:
        return functional.embedding(reader.ids(self.left_name), self._table(reader))

    def train(self, mode: bool = True) -> GraphEncoder:
        """Switch the mode; the cached propagated table is dropped, since the tables may have changed."""
        self._kept = None
        return super().train(mode)

    def propagate(self, left_UK: Tensor, right_VK: Tensor) -> Tensor:
        """Return the first table after propagation; rows without edges are unchanged."""
        smoothed_UK, _ = self.propagation(left_UK, right_VK)
        has_edges_U1 = self.propagation.left_degrees(len(left_UK)).unsqueeze(1) > 0
        return torch.where(has_edges_U1, smoothed_UK, left_UK)

    def _table(self, reader: Reader) -> Tensor:
        """Return the propagated table (U, K); outside training it is cached."""
        if self._kept is not None and not torch.is_grad_enabled():
            return self._kept
        table_UK = self.propagate(reader.table(self.left_name), reader.table(self.right_name))
        if not self.training and not torch.is_grad_enabled():
            self._kept = table_UK
        return table_UK
