"""MultiCategorical: several categories per row, as the mean of their embedding rows."""

from __future__ import annotations

from typing import Literal

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Bag, Input, Ragged
from polyrec.features.feature import ColumnFeature, Encoder, State
from polyrec.features.vocabulary import fit_vocabulary, lookup, rows_before
from polyrec.layers.shared_table import FIRST_DEVIATION


class MultiCategorical(ColumnFeature):
    """A bag of values: genres, tags, interests. Order within a row has no effect; repeated values count repeatedly.

    Output: mean or sum of rows of an embedding table of (vocabulary + 1) x width; zero for an empty or null bag. Values
    unseen in training are dropped from the bag. State: `value`, `count`.
    """

    examples = ({"name": "genres"}, {"name": "tags", "separator": "|", "pooling": "sum"})

    separator: str | None = Field(default=None, min_length=1)
    """Separator that splits a column of strings into values. Unset: the column holds lists."""
    minimum_count: int = Field(default=1, ge=1)
    """Number of training occurrences that a value needs for an embedding row."""
    pooling: Literal["mean", "sum"] = "mean"
    """Pooling of the values' embedding rows."""

    def fit(self, values: pl.DataFrame) -> State:
        return fit_vocabulary(self._lists(values).explode(empty_as_null=True), self.minimum_count)

    def grow(self, values: pl.DataFrame, state: State) -> State:
        return self.fit(values)

    def rows_before(self, state: State, before: State) -> Tensor:
        return rows_before(state, before)

    def encode(self, values: pl.DataFrame, state: State) -> Ragged:
        lists = self._lists(values)
        flat = lists.explode(empty_as_null=True)
        rows = pl.int_range(len(lists), eager=True).repeat_by(lists.list.len().fill_null(0).clip(1, None)).explode()
        numbered = pl.DataFrame({"row": rows, "number": lookup(flat, state)}).filter(pl.col("number") > 0)
        counts = torch.bincount(numbered["row"].to_torch(), minlength=len(lists))
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
        return Ragged(numbered["number"].to_torch(), offsets)

    def build(self, state: State) -> Encoder:
        return BagEncoder(len(state) + 1, self.width, self.pooling)

    def _lists(self, values: pl.DataFrame) -> pl.Series:
        series = self.series(values)
        if self.separator is not None and series.dtype == pl.String:
            trimmed = series.str.split(self.separator).list.eval(pl.element().str.strip_chars())
            return trimmed.list.eval(pl.element().filter(pl.element() != ""))
        if isinstance(series.dtype, pl.Array):
            series = series.arr.to_list()
        if not isinstance(series.dtype, pl.List):
            remedy = "Set `separator` for a column of joined strings, or use Categorical for one value per row."
            raise self.wrong_type(series, "lists", remedy)
        return series


class BagEncoder(Encoder):
    """An embedding table summed or averaged over bags. Maps a bag of B rows to (B, width)."""

    def __init__(self, rows: int, width: int, pooling: Literal["mean", "sum"]) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows, width, mode=pooling)
        nn.init.normal_(self.table.weight, std=FIRST_DEVIATION)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Bag)
        return self.table(values.values, values.offsets_B)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.table]
