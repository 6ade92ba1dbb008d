"""Hashed: one id per row without a vocabulary, as a concatenation of short embedding rows.

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
    """An id with more values than a table can hold, or with new values all the time: a user, a query, a device.

    Output: `[table_1[h_1(value)], ..., table_k[h_k(value)]]`, the concatenation of k parts of width / k. A separate hash
    function selects each part from `rows` rows, so two ids collide only if all k functions agree. With one function this is the
    hashing trick (Weinberger et al., ICML 2009). Bloom embeddings (Serrà and Karatzoglou, RecSys 2017), hash embeddings
    (Svenstrup et al., NeurIPS 2017) and double hashing (Zhang et al., RecSys 2020) combine several full-width rows, with
    per-id weights or for rare ids only. Concatenated parts (Shi et al., KDD 2020; Coleman et al., NeurIPS 2023) need as many
    weights as one function does, and each row serves k times fewer ids than in a sum. No counts are needed, and every id is
    accepted, also one that training never saw. Row 0 stands for null.

    Unlike the hashes of Python and most libraries, these are equal in every process, on every machine and in every version.
    State, one row: `value`, a null of the type to which ids are cast, so that the "42" of a request equals the 42 of the
    table; `distinct`, the number of distinct training values; `colliding`, the share of them that share all rows with another.
    """

    examples = (
        {"name": "user_id", "rows": 1000},
        {"name": "q", "column": "query", "rows": 50, "hashes": 1, "seed": 1, "width": 8},
    )

    rows: int = Field(ge=1)
    """Rows of each part's table; the feature has as many weights as a table of `rows` ids. A common choice is a quarter of the
    expected ids."""
    hashes: int = Field(default=4, ge=1)
    """Number of hash functions and of parts of the vector; a divisor of the width."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the hash functions: another seed makes other ids collide."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.hashes:
            raise ValueError(f"feature {self.name!r} has width {self.width}, which is no multiple of its {self.hashes} parts")
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
    """An embedding table whose rows are parts of vectors. Maps the row numbers of each id, (B, K), to (B, width)."""

    def __init__(self, rows: int, hashes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows * hashes + 1, width // hashes)
        nn.init.normal_(self.table.weight, std=FIRST_DEVIATION)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.table(values).flatten(1)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.table]
