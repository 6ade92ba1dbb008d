"""LightGCN: an id as its neighbourhood in the graph of who met what.

Shape letters: U values of the own id, V values of the other side's id, K width.
"""

from __future__ import annotations

from typing import Self

import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.features.feature import Feature, State
from polyrec.layers.propagation import Propagation

OWN, OTHER = "own", "other"
"""Columns of the state: the two ends of an edge, as numbers in the two vocabularies."""


class LightGCN(Feature):
    """The row's id `of` as the mean, over the layers of light graph convolution (He et al., SIGIR 2020), of the embeddings
    around it: `e_u = sum_l e_u^(l) / (L + 1)`, l from 0 to L, the number of layers.

    `e_u^(0)` is the own embedding; `e_u^(l+1) = sum_i e_i^(l) / sqrt(degree_u degree_i)`, and the same from the other side.
    It shares the learned tables of the two Categorical features, so all three have one width. Edges are the distinct pairs of
    the two ids in the TRAINING rows. Unlike the paper, where nodes are all there is, values can be unseen, rare or null: these
    all have number 0, have no edges (one node for all of them would tie strangers together), and keep the embedding of
    number 0 as it is; so does any value without an edge. State: `own`, `other`.

    Unlike a `History`, it has no `where`. A history holds rows before a row's time, whose labels are past. The graph holds the
    training rows themselves: were only rows with a certain label its edges, each training row could see its own label by
    whether its edge is there, and no later row could.
    """

    examples = (
        {"name": "neighbours", "of": "user_id", "to": "item_id"},
        {"name": "buyers", "of": "item_id", "to": "user_id", "layers": 3, "width": 8},
    )

    of: str
    """Name of the Categorical feature whose value, on the same side, is seen through its neighbours."""
    to: str
    """Name of the Categorical feature of the other side, whose values are the neighbours."""
    layers: int = Field(default=2, ge=1)
    """How many steps away a neighbour may be."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.of == self.to:
            raise ValueError(f"`of` and `to` are both {self.of!r}; name a feature of each side")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    def fit_edges(self, own_numbers: pl.Series, other_numbers: pl.Series) -> State:
        """Return the distinct pairs of numbers of the training rows; the two series are the rows' values as encoded."""
        pairs = pl.DataFrame({OWN: own_numbers.cast(pl.Int32), OTHER: other_numbers.cast(pl.Int32)})
        return pairs.filter((pl.col(OWN) > 0) & (pl.col(OTHER) > 0)).unique().sort(OWN, OTHER)

    def build(self, state: State) -> GraphEncoder:  # type: ignore[override]  # it reads two tables, no input of its own
        """Make the module that maps the two learned tables to the own one, propagated."""
        return GraphEncoder(state[OWN].to_torch(), state[OTHER].to_torch(), self.layers)


class GraphEncoder(nn.Module):
    """Maps the two learned tables (U, K) and (V, K) to the own table (U, K) as seen through the graph."""

    def __init__(self, own_E: Tensor, other_E: Tensor, layers: int) -> None:
        super().__init__()
        self.propagation = Propagation(own_E, other_E, layers)

    def __call__(self, own_UK: Tensor, other_VK: Tensor) -> Tensor:
        return super().__call__(own_UK, other_VK)

    def forward(self, own_UK: Tensor, other_VK: Tensor) -> Tensor:
        seen_UK, _ = self.propagation(own_UK, other_VK)
        has_edges_U1 = self.propagation.left_degrees(len(own_UK)).unsqueeze(1) > 0
        return torch.where(has_edges_U1, seen_UK, own_UK)
