"""Categorical: one id or category a row, as a row of a learned table."""

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

    Output: row `number(value)` of a learned table of (vocabulary + 1) x width. Row 0 stands for null, for values with fewer
    than `minimum_count` training rows and for values never seen. State: `value`, `count`.
    """

    examples = ({"name": "item_id"}, {"name": "city", "column": "town", "width": 8, "minimum_count": 2, "id_dropout": 0.1})

    minimum_count: int = Field(default=1, ge=1)
    """Training rows that a value needs to have a row of its own."""
    id_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability, in training, that a value is read as unseen: what makes row 0 mean something for new values
    (DropoutNet; Volkovs et al., 2017)."""

    def fit(self, values: pl.DataFrame) -> State:
        return fit_vocabulary(self.readable(values), self.minimum_count)

    def grow(self, values: pl.DataFrame, state: State) -> State:
        return self.fit(values)

    def rows_before(self, state: State, before: State) -> Tensor:
        return rows_before(state, before)

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        return Dense(lookup(self.readable(values), state).to_torch())

    def rows(self, state: State) -> int:
        """Return how many rows the table has: one for each value of the vocabulary and row 0."""
        return len(state) + 1

    def build(self, state: State) -> Encoder:
        return CategoricalEncoder(self.rows(state), self.width, self.id_dropout)


class CategoricalEncoder(Encoder):
    """A learned table for one feature alone. Maps numbers of any shape (…) to (…, width).

    A model puts the tables of all features of one width together instead (`polyrec.features.encoders`).
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
    """Return the numbers, some of them, drawn at random, read as unseen."""
    return numbers * (torch.rand(numbers.shape) >= probability) if probability > 0 else numbers
