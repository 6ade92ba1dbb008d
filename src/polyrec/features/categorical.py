"""Categorical: one id or category per row, as a row of an embedding table."""

from __future__ import annotations

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Dense, Input
from polyrec.features.feature import Encoder, State
from polyrec.features.id_feature import IdFeature
from polyrec.features.vocabulary import fit_vocabulary, lookup, rows_before
from polyrec.layers.shared_table import SharedTable


class Categorical(IdFeature):
    """One of a set of values: an id, a code, a word, true or false.

    Output: row `number(value)` of an embedding table of (vocabulary + 1) x width. Row 0 stands for null, for values with fewer
    than `minimum_count` training rows and for values never seen. State: `value`, `count`.
    """

    examples = ({"name": "item_id"}, {"name": "city", "column": "town", "width": 8, "minimum_count": 2, "id_dropout": 0.1})

    minimum_count: int = Field(default=1, ge=1)
    """Number of training rows that a value needs for an embedding row."""
    id_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability that a value is read as unseen in training, which trains row 0 for new values (DropoutNet; Volkovs et al.,
    2017)."""

    def fit(self, values: pl.DataFrame) -> State:
        return fit_vocabulary(self.readable(values), self.minimum_count)

    def grow(self, values: pl.DataFrame, state: State) -> State:
        return self.fit(values)

    def rows_before(self, state: State, before: State) -> Tensor:
        return rows_before(state, before)

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        return Dense(lookup(self.readable(values), state).to_torch())

    def rows(self, state: State) -> int:
        """Return the number of embedding rows: one for each value of the vocabulary, and row 0."""
        return len(state) + 1

    def build(self, state: State) -> Encoder:
        return CategoricalEncoder(self.rows(state), self.width, self.id_dropout)


class CategoricalEncoder(Encoder):
    """An embedding table of one feature. Maps numbers of any shape (…) to (…, width).

    A model instead joins the tables of all features of one width (`polyrec.model.encoders`).
    """

    def __init__(self, rows: int, width: int, id_dropout: float) -> None:
        super().__init__()
        self.shared = SharedTable({"": rows}, width)
        self.id_dropout = id_dropout

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.shared.lookup("", drop_ids(values, self.id_dropout if self.training else 0.0))

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.shared.table]


def drop_ids(numbers: Tensor, probability: float) -> Tensor:
    """Return the numbers, each replaced by 0 (unseen) with a probability."""
    return numbers * (torch.rand(numbers.shape) >= probability) if probability > 0 else numbers
