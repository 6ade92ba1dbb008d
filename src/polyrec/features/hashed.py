"""Hashed: one id a row without a vocabulary, as the sum of a few rows of a learned table.

Shape letters: N rows, B rows, K hash functions.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Dense, Input
from polyrec.features.feature import Encoder, State
from polyrec.features.hashing import hash_rows
from polyrec.features.id_feature import _IdFeature


class Hashed(_IdFeature):
    """An id of which there are more than a table can hold, or of which new ones keep coming: a user, a query, a device.

    Output: `table[h_1(value)] + ... + table[h_k(value)]` with k hash functions into `rows` rows, so that two ids are told apart
    unless all k agree. With one function this is the hashing trick (Weinberger et al., ICML 2009); with more, the Bloom
    embeddings of Serrà and Karatzoglou (RecSys 2017), which Svenstrup et al. (NeurIPS 2017) extend by weights of an id's own
    and Zhang et al. (RecSys 2020) by rows of their own for frequent ids. The plain sum needs neither counts nor a second table,
    and takes any id at any time, also one that training never saw. Row 0 is null's.

    Unlike Python's and most libraries' hashes these are the same in every process, on every machine and in every version.
    State, one row: `value`, a null of the type that ids are cast to first, so that the "42" of a request is the 42 of the
    table; `distinct`, the distinct training values; `colliding`, the share of them that share all their rows with another.
    """

    examples = (
        {"name": "user_id", "rows": 1000},
        {"name": "q", "column": "query", "rows": 50, "hashes": 3, "seed": 1, "width": 8},
    )

    rows: int = Field(ge=1, lt=2**31)
    """Rows of the table, without null's. Half the number of ids that are expected, or less, is common."""
    hashes: int = Field(default=2, ge=1, le=8)
    """Hash functions, and rows that are added up for an id."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Which hash functions: another seed makes other ids collide."""

    def fit(self, values: pl.DataFrame) -> State:
        ids = self.ids(values)
        distinct = ids.drop_nulls().unique()
        rows_NK = self._rows(distinct)
        rows_NK.sort(axis=1)
        together = pl.DataFrame(rows_NK).group_by(pl.all()).len()["len"]
        colliding = together.filter(together > 1).sum() / max(len(distinct), 1)
        return pl.DataFrame({"value": ids.clear(1), "distinct": [len(distinct)], "colliding": [colliding]})

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        return Dense(torch.from_numpy(self._rows(self.ids(values).cast(state["value"].dtype, strict=False))))

    def build(self, state: State) -> Encoder:
        return HashedEncoder(self.rows, self.hashes, self.width)

    def _rows(self, ids: pl.Series) -> np.ndarray:
        return hash_rows(ids, self.rows, self.hashes, self.seed)


class HashedEncoder(Encoder):
    """A learned table whose rows are added up. Maps the rows of each id, (B, K), to (B, width)."""

    def __init__(self, rows: int, hashes: int, width: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows + 1, width, mode="sum")
        nn.init.normal_(self.table.weight, std=(width * hashes) ** -0.5)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.table(values)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.table]
