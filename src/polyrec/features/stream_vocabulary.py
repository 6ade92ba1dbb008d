"""Vocabulary of an endless stream of ids, which share an embedding table of bounded size.

The state is a frame: `value`, `row` (0 for a waiting id, which has no row yet), `count`, `last_seen`; first the ids with a row,
by row, then the waiting ids, the latest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl
from torch import Tensor

from polyrec.features.vocabulary import COUNT, VALUE

ROW = "row"
"""Column of the state: the id's embedding row, from 1; 0 while it waits."""
LAST_SEEN = "last_seen"
"""Column of the state: the time of the newest training row with the id."""


@dataclass(frozen=True)
class Update:
    """Result of an update of a vocabulary."""

    state: pl.DataFrame
    given: Tensor
    """Embedding rows that the update assigned to ids, ascending."""
    recycled: Tensor
    """Those of `given` that belonged to another id before: their weights must be reset for the new id."""


def update_vocabulary(
    state: pl.DataFrame | None,
    values: pl.Series,
    times: pl.Series | None,
    *,
    rows: int,
    admit_after: int,
    evict: Literal["lru", "lfu"],
) -> Update:
    """Count new training rows, and assign the `rows` embedding rows to ids.

    Of the ids counted at least `admit_after` times, the `rows` last seen (`lru`) or most often counted (`lfu`) have a row; the
    other measure breaks ties, then the value. An id that stays keeps its row; new ids take free rows in the order of their
    admission. Ids without a row, also evicted ones, wait with their counts; at most `rows` ids wait, the last seen. Without
    times, all new rows have the same time, after those before. Nulls are ignored.
    """
    state = _start(values, times) if state is None else state
    assert state.filter(pl.col(ROW) > rows).is_empty()
    wanted = pl.col(COUNT) >= admit_after
    first, second = (LAST_SEEN, COUNT) if evict == "lru" else (COUNT, LAST_SEEN)
    ranked = _count(state, values, times, admit_after).sort(wanted, first, second, VALUE, descending=[True, True, True, False])
    ranked = ranked.with_columns(has_row=wanted & (pl.int_range(pl.len()) < rows))
    kept = ranked.filter("has_row", pl.col(ROW) > 0)
    every = pl.int_range(1, rows + 1, dtype=pl.Int32, eager=True).alias(ROW)
    free = every.filter(~every.is_in(kept[ROW].implode()))
    entering = ranked.filter("has_row", pl.col(ROW) == 0).sort("admitted", VALUE, nulls_last=True)
    given = free.head(len(entering))
    waiting = ranked.filter(~pl.col("has_row")).sort(LAST_SEEN, COUNT, VALUE, descending=[True, True, False]).head(rows)
    holders = pl.concat([kept, entering.with_columns(given)]).sort(ROW)
    after = pl.concat([holders, waiting.with_columns(pl.lit(0, pl.Int32).alias(ROW))]).select(state.columns)
    recycled = given.filter(given.is_in(state[ROW].implode()))
    return Update(after, given.cast(pl.Int64).to_torch(), recycled.cast(pl.Int64).to_torch())


def _start(values: pl.Series, times: pl.Series | None) -> pl.DataFrame:
    clock = pl.Int64() if times is None else times.to_physical().dtype
    return pl.DataFrame(schema={VALUE: values.dtype, ROW: pl.Int32, COUNT: pl.Int64, LAST_SEEN: clock})


def _count(state: pl.DataFrame, values: pl.Series, times: pl.Series | None, admit_after: int) -> pl.DataFrame:
    """Return all ids, old and new, with their counts and, as `admitted`, the time at which the count reached `admit_after`."""
    if times is None:
        last = pl.lit(state[LAST_SEEN].max(), state[LAST_SEEN].dtype)
        times = pl.select((last + 1).fill_null(0).repeat_by(len(values)).explode(empty_as_null=False)).to_series()
    new = pl.DataFrame({VALUE: values.cast(state[VALUE].dtype, strict=False), "times": times.to_physical()})
    new = new.drop_nulls(VALUE).group_by(VALUE).agg(pl.col("times").sort())
    before = pl.col(COUNT).fill_null(0)
    return state.join(new, on=VALUE, how="full", coalesce=True).with_columns(
        pl.col(ROW).fill_null(0),
        before + pl.col("times").list.len().fill_null(0),
        pl.max_horizontal(LAST_SEEN, pl.col("times").list.last()).alias(LAST_SEEN),
        pl.col("times").list.get((admit_after - 1 - before).clip(0), null_on_oob=True).alias("admitted"),
    )
