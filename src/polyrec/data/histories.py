"""Histories: for each row, where in the log its user's past ends. Strictly before the row's time, never at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import torch

from polyrec.core.batch import Column, Dense, Indexed, Lookup, Paired, Sequence
from polyrec.data.conditions.expressions import columns_of, meets
from polyrec.features.feature import Feature, State
from polyrec.features.history import History

USER, TIME = "__user", "__time"
"""Columns of a log, and of rows to look up in it, that hold the user's key and the time as a number."""


@dataclass(frozen=True)
class Log:
    """Interactions sorted by user and time, with the columns that histories read."""

    frame: pl.DataFrame

    @staticmethod
    def of(frame: pl.DataFrame) -> Log:
        """Sort a frame that has the columns `USER` and `TIME`; rows of one instant keep their order."""
        return Log(frame.sort([USER, TIME], maintain_order=True))

    def with_rows(self, rows: pl.DataFrame, keys: list[str]) -> Log:
        """Return the log with further rows, leaving out those that it holds already (same `keys`)."""
        shared = [column for column in self.frame.columns if column in rows.columns]
        asked = rows.select(shared).cast({name: self.frame.schema[name] for name in shared if name != TIME}, strict=False)
        held, asked = _same_time_type(self.frame, asked)
        new = asked.join(held, on=keys, how="anti", maintain_order="left")
        return Log.of(pl.concat([held, new], how="diagonal")) if new.height else self

    def of_user(self, user: object) -> Log:
        """Return the part of the log that is one user's."""
        return Log(self.frame.filter(pl.col(USER) == pl.lit(user).cast(self.frame.schema[USER], strict=False)))


def element_columns(history: History, of: tuple[Feature, ...]) -> tuple[str, ...]:
    """Return the columns that a log needs for a history of a feature, or of the two of a joint."""
    condition = columns_of(history.where, _thing(history)) if history.where else ()
    return tuple(dict.fromkeys((*_read(of), *condition)))


def history_column(
    history: History, of: tuple[Feature, ...], states: Mapping[str, State], log: Log, rows: pl.DataFrame
) -> Column:
    """Return the history of each row of `rows` (columns `USER`, and `TIME` unless all of the past counts)."""
    past = log.frame if history.where is None else log.frame.filter(meets(log.frame, history.where, _thing(history)))
    ends, lengths = _positions(past.select(USER, TIME), rows, history.length)
    elements = past.select(_read(of))
    if elements.height == 0:
        elements = pl.DataFrame({name: [None] for name in elements.columns}, schema=elements.schema)
    columns = [_once(feature.encode(elements.select(feature.columns), states[feature.name])) for feature in of]
    return Sequence(columns[0] if len(columns) == 1 else Paired(*columns), ends, lengths)


def _once(column: Column) -> Column:
    """Return a column that hands out each distinct vector once a batch, for many rows of many histories share few of them."""
    return Lookup(Dense(column.table_U), column.index_N) if isinstance(column, Indexed) else column


def _read(of: tuple[Feature, ...]) -> list[str]:
    return list(dict.fromkeys(column for feature in of for column in feature.columns))


def _positions(past: pl.DataFrame, rows: pl.DataFrame, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each row where its user's earlier events end in `past`, and how many of them count."""
    rows = rows.with_columns(pl.col(USER).cast(past.schema[USER], strict=False))
    past = past.with_row_index("end", offset=1)
    per_user = past.group_by(USER).agg(start=pl.col("end").min() - 1, last=pl.col("end").max())
    asked = rows.with_row_index("row").join(per_user, on=USER, how="left", maintain_order="left")
    if TIME in rows.columns:
        past, asked = _same_time_type(past, asked)
        sorted_past = past.select(USER, TIME, "end").sort(TIME, maintain_order=True)
        asked = (
            asked.drop("last")
            .sort(TIME)
            .join_asof(sorted_past, on=TIME, by=USER, strategy="backward", allow_exact_matches=False, check_sortedness=False)
        )
        asked = asked.rename({"end": "last"}).sort("row")
    ends = asked["last"].fill_null(0).cast(pl.Int64)
    count = pl.Series(ends - asked["start"].fill_null(0).cast(pl.Int64)).clip(0, length)
    return ends.to_torch(), count.to_torch()


def _same_time_type(left: pl.DataFrame, right: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    if left.schema[TIME] == right.schema[TIME]:
        return left, right
    return left.with_columns(pl.col(TIME).cast(pl.Float64)), right.with_columns(pl.col(TIME).cast(pl.Float64))


def _thing(history: History) -> str:
    return f"condition of the history {history.name!r}"
