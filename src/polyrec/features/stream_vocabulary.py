"""The vocabulary of an endless stream of ids: assignment of ids to the rows of a table of bounded size.

The state is a frame, saved as it is: `value`, `row` (0 for a waiting id), `count`, `last_seen`. Ids with a row come first,
sorted by row, then waiting ids, the latest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl
from torch import Tensor

from polyrec.features.vocabulary import COUNT, VALUE

ROW = "row"
"""Column of the state: the id's row of the table, from 1; 0 for a waiting id."""
LAST_SEEN = "last_seen"
"""Column of the state: the time of the newest row that holds the id."""


@dataclass(frozen=True)
class Update:
    """Result of an update of a vocabulary."""

    state: pl.DataFrame
    given: Tensor
    """Rows of the table assigned to new ids, ascending."""
    recycled: Tensor
    """Rows among `given` that belonged to another id before: their weights must be reset."""


def update_vocabulary(
    state: pl.DataFrame | None,
    values: pl.Series,
    times: pl.Series | None,
    *,
    rows: int,
    admit_after: int,
    evict: Literal["lru", "lfu"],
) -> Update:
    """Count new values, and assign the `rows` rows of the table to ids.

    Among the ids counted at least `admit_after` times, the `rows` most recent (`lru`) or most frequent (`lfu`) have a row; ties
    are broken by the other measure, then by the value. Ids that keep a row keep its number; new ids take free rows in the order
    of their admission. Ids without a row, including evicted ones, wait with their counts; at most `rows` ids wait, the most
    recent ones. Without times, all new values have one time, later than all before. Nulls are not counted.
    """
    state = _start(values, times) if state is None else state
    assert state.filter(pl.col(ROW) > rows).is_empty()
    wanted = pl.col(COUNT) >= admit_after
    first, second = (LAST_SEEN, COUNT) if evict == "lru" else (COUNT, LAST_SEEN)
    ranked = _count(state, values, times, admit_after).sort(wanted, first, second, VALUE, descending=[True, True, True, False])
    ranked = ranked.with_columns(alive=wanted & (pl.int_range(pl.len()) < rows))
    kept = ranked.filter("alive", pl.col(ROW) > 0)
    every = pl.int_range(1, rows + 1, dtype=pl.Int32, eager=True).alias(ROW)
    free = every.filter(~every.is_in(kept[ROW].implode()))
    entering = ranked.filter("alive", pl.col(ROW) == 0).sort("admitted", VALUE, nulls_last=True)
    given = free.head(len(entering))
    waiting = ranked.filter(~pl.col("alive")).sort(LAST_SEEN, COUNT, VALUE, descending=[True, True, False]).head(rows)
    alive = pl.concat([kept, entering.with_columns(given)]).sort(ROW)
    after = pl.concat([alive, waiting.with_columns(pl.lit(0, pl.Int32).alias(ROW))]).select(state.columns)
    recycled = given.filter(given.is_in(state[ROW].implode()))
    return Update(after, given.cast(pl.Int64).to_torch(), recycled.cast(pl.Int64).to_torch())


def _start(values: pl.Series, times: pl.Series | None) -> pl.DataFrame:
    clock = pl.Int64() if times is None else times.to_physical().dtype
    return pl.DataFrame(schema={VALUE: values.dtype, ROW: pl.Int32, COUNT: pl.Int64, LAST_SEEN: clock})


def _count(state: pl.DataFrame, values: pl.Series, times: pl.Series | None, admit_after: int) -> pl.DataFrame:
    """Return all ids, old and new, with updated counts and, as `admitted`, the time when the count reached `admit_after`."""
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
