"""Hashed: one id a row without a vocabulary, as a few short rows of a learned table, side by side.

Shape letters: N rows, B rows, K hash functions.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.core.batch import Dense, Input
from polyrec.features.feature import Encoder, State
from polyrec.features.hashing import hash_rows
from polyrec.features.id_feature import IdFeature
from polyrec.layers.shared_table import FIRST_DEVIATION


class Hashed(IdFeature):
    """An id of which there are more than a table can hold, or of which new ones keep coming: a user, a query, a device.

    Output: `[table_1[h_1(value)], ..., table_k[h_k(value)]]`, parts of width / k side by side, each read by a hash function of
    its own from `rows` rows, so that two ids are told apart unless all k agree. With one function this is the hashing trick
    (Weinberger et al., ICML 2009). Bloom embeddings (Serrà and Karatzoglou, RecSys 2017), hash embeddings (Svenstrup et al.,
    NeurIPS 2017) and double hashing (Zhang et al., RecSys 2020) combine several whole rows, with weights of an id's own or
    for rare ids only. Parts side by side (Shi et al., KDD 2020; Coleman et al., NeurIPS 2023) take as many weights as one
    function does, and each row serves k times fewer ids than in a sum. No counts are needed, and any id is taken at any time,
    also one that training never saw. Row 0 is null's.

    Unlike Python's and most libraries' hashes these are the same in every process, on every machine and in every version.
    State, one row: `value`, a null of the type that ids are cast to first, so that the "42" of a request is the 42 of the
    table; `distinct`, the distinct training values; `colliding`, the share of them that share all their rows with another.
    """

    examples = (
        {"name": "user_id", "rows": 1000},
        {"name": "q", "column": "query", "rows": 50, "hashes": 1, "seed": 1, "width": 8},
    )

    rows: int = Field(ge=1)
    """Rows of the table of each part: as many weights as a table of `rows` ids has. A quarter of the ids expected is common."""
    hashes: int = Field(default=4, ge=1)
    """Hash functions, and parts of the vector; a divisor of the width."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Which hash functions: another seed makes other ids collide."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.hashes:
            raise ValueError(f"feature {self.name!r} has width {self.width}, which {self.hashes} parts cannot share equally")
        if self.rows * self.hashes >= 2**31:
            raise ValueError(f"feature {self.name!r} has {self.rows} rows for each of {self.hashes} parts: too many to number")
        return self

    def fit(self, values: pl.DataFrame) -> State:
        ids = self.ids(values)
        distinct = ids.drop_nulls().unique()
        together = pl.DataFrame(self._rows(distinct)).group_by(pl.all()).len()["len"]
        colliding = together.filter(together > 1).sum() / max(len(distinct), 1)
        return pl.DataFrame({"value": ids.clear(1), "distinct": [len(distinct)], "colliding": [colliding]})

    def grow(self, values: pl.DataFrame, state: State) -> State:
        same_type = self.ids(values).cast(state["value"].dtype, strict=False).alias(self.columns[0])
        return self.fit(same_type.to_frame())

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        return Dense(torch.from_numpy(self._rows(self.ids(values).cast(state["value"].dtype, strict=False))))

    def build(self, state: State) -> Encoder:
        return HashedEncoder(self.rows, self.hashes, self.width)

    def _rows(self, ids: pl.Series) -> np.ndarray:
        return hash_rows(ids, self.rows, self.hashes, self.seed)


class HashedEncoder(Encoder):
    """A learned table whose rows are parts of vectors. Maps the rows of each id, (B, K), to (B, width)."""

    def __init__(self, rows: int, hashes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows * hashes + 1, width // hashes)
        nn.init.normal_(self.table.weight, std=FIRST_DEVIATION)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.table(values).flatten(1)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.table]
