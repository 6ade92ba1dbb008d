"""Streamed: one id a row, as a row of a learned table of bounded size that ids are given and taken from as they come and go."""

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
    """An id of which new ones keep coming and old ones are not seen again: a video, a session, an advertisement.

    Output: row `r(value)` of a learned table of (rows + 1) x width. An id has a row of its own once it was seen `admit_after`
    times; where more ids than rows were, those last seen (`lru`) or most often seen (`lfu`) have one. All others read row 0, as
    null does; a `Hashed` of the same column beside this tells them apart. Frequency filter and expiry are those of Monolith
    (Liu et al., ORSUM at RecSys 2022); that under `lfu` an id takes a row only from one that was seen less is the admission of
    TinyLFU (Einziger et al., ACM Transactions on Storage 2017). Counts are exact, where others estimate them by sketches.

    The table changes between fits and not within one: `refit` goes on with a state where new training rows have come, ids that
    stay keep their rows, and the rows that changed hands are returned, for `StreamedEncoder.recycle` and
    `polyrec.train.resetting.reset_rows`. State: `value`, `row`, `count`, `last_seen`; first the ids with a row, by row, then
    as many more that wait for one, whose `row` is 0.
    """

    examples = ({"name": "item_id", "rows": 1000}, {"name": "ad", "rows": 3, "admit_after": 1, "evict": "lfu", "width": 8})

    rows: int = Field(ge=1, lt=2**31 - 1)
    """Rows of the table that ids can have; row 0 comes on top."""
    admit_after: int = Field(default=2, ge=1)
    """How often an id is seen before it has a row. What is seen less trains row 0, which new ids read."""
    evict: Literal["lru", "lfu"] = "lru"
    """Whose row is taken when all are: the id that was not seen for longest, or the one seen least."""

    def fit(self, values: pl.DataFrame, times: pl.Series | None = None) -> State:
        """Learn which ids have a row. Without the times of the rows all are of one instant, and counts decide."""
        return self.refit(values, None, times)[0]

    def refit(self, values: pl.DataFrame, state: State | None, times: pl.Series | None = None) -> tuple[State, Tensor]:
        """Return what a state becomes by new rows, and the rows of the table that were another id's before."""
        if times is not None and times.null_count():
            found, remedy = f"null in {times.null_count()} rows", "Drop or fill these rows."
            raise UserError(f"times of the feature {self.name!r}", expected="a time in every row", found=found, remedy=remedy)
        ids = self.ids(values)
        update = update_vocabulary(state, ids, times, rows=self.rows, admit_after=self.admit_after, evict=self.evict)
        return update.state, update.recycled

    def grow(self, values: pl.DataFrame, state: State, times: pl.Series | None = None) -> State:
        """Return what the state becomes by the rows that are later than all that it has seen; ids that none of the rows holds
        are forgotten. Without times none is known to be later, and the other ids stay as they are."""
        ids = self.ids(values).cast(state[VALUE].dtype, strict=False)
        state = state.filter(pl.col(VALUE).is_in(ids.unique().implode()))
        if times is None:
            return state
        is_later = times.to_physical() > state[LAST_SEEN].max() if state.height else pl.repeat(True, len(times), eager=True)
        return self.refit(values.filter(is_later), state, times.filter(is_later))[0]

    def rows_before(self, state: State, before: State) -> Tensor:
        rows = torch.arange(self.rows + 1)
        owned, earlier = state.filter(pl.col(ROW) > 0), before.filter(pl.col(ROW) > 0)
        place_V = lookup(owned[VALUE], earlier).cast(pl.Int64).to_torch()
        row_V = torch.cat([torch.zeros(1, dtype=torch.int64), earlier[ROW].cast(pl.Int64).to_torch()])
        rows[owned[ROW].cast(pl.Int64).to_torch()] = row_V[place_V]
        return rows

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        return Dense(lookup(self.ids(values), state.filter(pl.col(ROW) > 0)).to_torch())

    def build(self, state: State) -> Encoder:
        return StreamedEncoder(self.rows + 1, self.width)


class StreamedEncoder(Encoder):
    """A learned table whose rows can start afresh. Maps numbers of any shape (…) to (…, width)."""

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
        """Draw the weights of some rows anew, as those of a new table."""
        self.table.weight[rows] = torch.randn(len(rows), self.table.embedding_dim) * FIRST_DEVIATION
