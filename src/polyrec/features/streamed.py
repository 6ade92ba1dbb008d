"""Streamed: one id per row, as a row of an embedding table of bounded size whose rows are reassigned as ids come and go."""

from __future__ import annotations

from typing import Literal

import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Dense, Input
from polyrec.core.errors import UserError
from polyrec.features.feature import Encoder, State
from polyrec.features.id_feature import IdFeature
from polyrec.features.stream_vocabulary import LAST_SEEN, ROW, update_vocabulary
from polyrec.features.vocabulary import VALUE, lookup
from polyrec.layers.shared_table import FIRST_DEVIATION


class Streamed(IdFeature):
    """An id with a steady stream of new values, while old ones disappear: a video, a session, an advertisement.

    Output: row `r(value)` of an embedding table of (rows + 1) x width. An id has a row once it was seen `admit_after` times; if
    there are more such ids than rows, those last seen (`lru`) or most often seen (`lfu`) have one. All others, and null, read
    row 0; an additional `Hashed` of the same column distinguishes them. Frequency filter and expiry are those of Monolith (Liu
    et al., ORSUM at RecSys 2022). Under `lfu` an id takes a row only from an id that was seen less often, as in the admission
    of TinyLFU (Einziger et al., ACM Transactions on Storage 2017). Counts are exact, where others estimate them by sketches.

    The assignment changes between fits, never within one. `refit` updates a state by new training rows: ids that stay keep
    their rows, and it returns the reassigned rows, for `StreamedEncoder.recycle` and `polyrec.train.reset_rows.reset_rows`.
    State: `value`, `row`, `count`, `last_seen`; first the ids with a row, by row, then at most as many waiting ids, whose `row`
    is 0.
    """

    examples = ({"name": "item_id", "rows": 1000}, {"name": "ad", "rows": 3, "admit_after": 1, "evict": "lfu", "width": 8})

    rows: int = Field(ge=1, lt=2**31 - 1)
    """Number of embedding rows for ids, in addition to row 0."""
    admit_after: int = Field(default=2, ge=1)
    """Number of occurrences that an id needs for a row. Rarer ids train row 0, which new ids read."""
    evict: Literal["lru", "lfu"] = "lru"
    """Which id loses its row if none is free: the least recently seen (`lru`) or the least frequently seen (`lfu`)."""

    def fit(self, values: pl.DataFrame, times: pl.Series | None = None) -> State:
        """Learn which ids have a row. Without times, all rows have the same time, and counts decide."""
        return self.refit(values, None, times)[0]

    def refit(self, values: pl.DataFrame, state: State | None, times: pl.Series | None = None) -> tuple[State, Tensor]:
        """Return the state updated by new rows, and the embedding rows that belonged to another id before."""
        if times is not None and times.null_count():
            found, remedy = f"null in {times.null_count()} rows", "Drop these rows or fill in their times."
            raise UserError(f"times of the feature {self.name!r}", expected="a time in every row", found=found, remedy=remedy)
        ids = self.ids(values)
        update = update_vocabulary(state, ids, times, rows=self.rows, admit_after=self.admit_after, evict=self.evict)
        return update.state, update.recycled

    def grow(self, values: pl.DataFrame, state: State, times: pl.Series | None = None) -> State:
        """Return the state updated by the rows later than all that it has seen; ids that occur in none of the rows are removed.

        Without times no row is known to be later, and the remaining ids stay unchanged.
        """
        ids = self.ids(values).cast(state[VALUE].dtype, strict=False)
        state = state.filter(pl.col(VALUE).is_in(ids.unique().implode()))
        if times is None:
            return state
        is_later = times.to_physical() > state[LAST_SEEN].max() if state.height else pl.repeat(True, len(times), eager=True)
        return self.refit(values.filter(is_later), state, times.filter(is_later))[0]

    def rows_before(self, state: State, before: State) -> Tensor:
        rows = torch.arange(self.rows + 1)
        current, earlier = state.filter(pl.col(ROW) > 0), before.filter(pl.col(ROW) > 0)
        position_V = lookup(current[VALUE], earlier).cast(pl.Int64).to_torch()
        row_V = torch.cat([torch.zeros(1, dtype=torch.int64), earlier[ROW].cast(pl.Int64).to_torch()])
        rows[current[ROW].cast(pl.Int64).to_torch()] = row_V[position_V]
        return rows

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        return Dense(lookup(self.ids(values), state.filter(pl.col(ROW) > 0)).to_torch())

    def build(self, state: State) -> Encoder:
        return StreamedEncoder(self.rows + 1, self.width)


class StreamedEncoder(Encoder):
    """An embedding table whose rows can be reset. Maps numbers of any shape (…) to (…, width)."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width)
        self.recycle(torch.arange(rows))

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.table(values)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        return [self.table]

    @torch.no_grad()
    def recycle(self, rows: Tensor) -> None:
        """Reinitialise the weights of some rows."""
        self.table.weight[rows] = torch.randn(len(rows), self.table.embedding_dim) * FIRST_DEVIATION
