"""LightGCN: an id as its neighbourhood in the graph of users and items.

Shape letters: E edges, U values of the id `of`, V values of the neighbours' id `to`, K width.
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

OF, TO = "own", "other"
"""Columns of the state: the two ends of an edge, as numbers in the vocabularies of `of` and `to`."""


class LightGCN(Derived):
    """The row's id `of` as the mean, over the layers of light graph convolution (He et al., SIGIR 2020), of the embeddings
    around it: `e_u = sum_l e_u^(l) / (L + 1)`, l from 0 to L, the number of layers.

    `e_u^(0)` is the embedding row of u; `e_u^(l+1) = sum_i e_i^(l) / sqrt(degree_u degree_i)`, and likewise for i. The graph
    shares the embedding tables of the two Categorical features, so all three have one width. Edges are the distinct pairs of
    the two ids in the TRAINING rows. Unlike in the paper, values can be unseen, rare or null. They all have number 0 and no
    edges, because a common node would connect unrelated values; like any value without an edge, they keep their embedding row.
    State: `own`, `other`.

    Unlike a `History`, the graph has no `where`. A history holds rows before a row's time, whose labels are past. The graph
    holds the training rows themselves: if only rows with a certain label were edges, the presence of its edge would reveal the
    label of each training row, but not of later rows.
    """

    examples = (
        {"name": "neighbours", "of": "user_id", "to": "item_id"},
        {"name": "buyers", "of": "item_id", "to": "user_id", "layers": 3, "width": 8},
    )

    of: str
    """Name of the Categorical feature on the same side whose values are represented by their neighbours."""
    to: str
    """Name of the Categorical feature on the other side whose values are the neighbours."""
    layers: int = Field(default=2, ge=1)
    """Number of layers, the largest distance of a neighbour."""

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
            feature = scope.features.get(name)
            if not isinstance(feature, Categorical) or name not in sides:
                options = [key for key in sides if isinstance(scope.features[key], Categorical)]
                raise ValueError(f"{thing} needs {name!r} as a Categorical of user or item. {nearest(name, options)}")
            if feature.width != self.width:
                raise ValueError(f"{thing} has width {self.width} and {name!r} width {feature.width}: make them equal")
        if sides.get(self.name) != sides[self.of] or sides[self.of] == sides[self.to]:
            raise ValueError(f"{thing} belongs on the side of {self.of!r}, and {self.to!r} on the other side")

    def fit_derived(self, encoded: Callable[[str], Column]) -> State:
        columns = [encoded(name) for name in self.reads]
        return self.fit_edges(*(pl.Series(column.values_N.numpy()) for column in columns if isinstance(column, Dense)))

    def fit_edges(self, of_numbers: pl.Series, to_numbers: pl.Series) -> State:
        """Return the distinct pairs of the encoded ids of the training rows."""
        pairs = pl.DataFrame({OF: of_numbers.cast(pl.Int32), TO: to_numbers.cast(pl.Int32)})
        return pairs.filter((pl.col(OF) > 0) & (pl.col(TO) > 0)).unique().sort(OF, TO)

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> GraphEncoder:
        assert state is not None
        return GraphEncoder(state[OF].to_torch(), state[TO].to_torch(), self.layers, self.of, self.to)


class GraphEncoder(DerivedEncoder):
    """Propagate two embedding tables (U, K) and (V, K) through the graph, then look up the rows' ids in the first."""

    def __init__(self, of_E: Tensor, to_E: Tensor, layers: int, of: str, to: str) -> None:
        super().__init__()
        self.propagation = Propagation(of_E, to_E, layers)
        self.names = of, to
        self._cached: Tensor | None = None

    def forward(self, reader: Reader) -> Tensor:
        return functional.embedding(reader.ids(self.names[0]), self._table(reader))

    def train(self, mode: bool = True) -> GraphEncoder:
        """Set training or evaluation mode and discard the cached propagated table."""
        self._cached = None
        return super().train(mode)

    def propagate(self, of_UK: Tensor, to_VK: Tensor) -> Tensor:
        """Return the first table propagated through the graph; rows without edges do not change."""
        propagated_UK, _ = self.propagation(of_UK, to_VK)
        has_edges_U1 = self.propagation.left_degrees(len(of_UK)).unsqueeze(1) > 0
        return torch.where(has_edges_U1, propagated_UK, of_UK)

    def _table(self, reader: Reader) -> Tensor:
        """Return the propagated table (U, K), cached outside training."""
        if self._cached is not None and not torch.is_grad_enabled():
            return self._cached
        of_UK, to_VK = (reader.table(name) for name in self.names)
        table_UK = self.propagate(of_UK, to_VK)
        if not self.training and not torch.is_grad_enabled():
            self._cached = table_UK
        return table_UK
