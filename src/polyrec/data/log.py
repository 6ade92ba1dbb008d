"""`Log`: interactions by user and time, and the end of each row's history, which is strictly before the row's time.

Shape letters: N rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from polyrec.data.conditions.expressions import meets

USER, TIME = "__user", "__time"
"""Columns of the user's key and of the time as a number, in a log and in rows that are looked up in it."""


@dataclass(frozen=True)
class Log:
    """Interactions sorted by user and time, with the columns that histories read."""

    frame: pl.DataFrame

    @staticmethod
    def of(frame: pl.DataFrame) -> Log:
        """Sort a frame with the columns `USER` and `TIME`; rows of the same time keep their order."""
        return Log(frame.sort([USER, TIME], maintain_order=True))

    def with_rows(self, rows: pl.DataFrame, keys: list[str]) -> Log:
        """Return the log with further rows, except those that it already contains (same `keys`)."""
        shared = [column for column in self.frame.columns if column in rows.columns]
        rows = rows.select(shared).cast({name: self.frame.schema[name] for name in shared if name != TIME}, strict=False)
        known, rows = _same_time_type(self.frame, rows)
        new = rows.join(known, on=keys, how="anti", maintain_order="left")
        return Log.of(pl.concat([known, new], how="diagonal")) if new.height else self

    def where(self, condition: str | None, thing: str) -> Log:
        """Return the rows that meet a SQL condition; `thing` names the condition in errors."""
        return self if condition is None else Log(self.frame.filter(meets(self.frame, condition, thing)))

    def matches(self, condition: str | None, thing: str) -> Tensor:
        """Return the positions, in order, of the rows that meet a SQL condition."""
        positions = torch.arange(self.frame.height)
        return positions if condition is None else positions[meets(self.frame, condition, thing).to_torch()]

    def positions(self, rows: pl.DataFrame, length: int) -> tuple[Tensor, Tensor]:
        """Return where the earlier rows of each row's user end in the log, (N,), and their number, at most `length`, (N,).

        `rows` has the columns `USER`, and `TIME` unless every row of the log counts as earlier.
        """
        past = self.frame.select(USER, TIME)
        rows = rows.with_columns(pl.col(USER).cast(past.schema[USER], strict=False))
        past = past.with_row_index("end", offset=1)
        per_user = past.group_by(USER).agg(start=pl.col("end").min() - 1, last=pl.col("end").max())
        ends = rows.with_row_index("row").join(per_user, on=USER, how="left", maintain_order="left")
        if TIME in rows.columns:
            past, ends = _same_time_type(past, ends)
            sorted_past = past.select(USER, TIME, "end").sort(TIME, maintain_order=True)
            ends = (
                ends.drop("last")
                .sort(TIME)
                .join_asof(
                    sorted_past, on=TIME, by=USER, strategy="backward", allow_exact_matches=False, check_sortedness=False
                )
            )
            ends = ends.rename({"end": "last"}).sort("row")
        last_N = ends["last"].fill_null(0).cast(pl.Int64)
        count_N = pl.Series(last_N - ends["start"].fill_null(0).cast(pl.Int64)).clip(0, length)
        return last_N.to_torch(), count_N.to_torch()

    def of_user(self, user: object) -> Log:
        """Return the rows of one user."""
        return Log(self.frame.filter(pl.col(USER) == pl.lit(user).cast(self.frame.schema[USER], strict=False)))


def _same_time_type(left: pl.DataFrame, right: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    if left.schema[TIME] == right.schema[TIME]:
        return left, right
    return left.with_columns(pl.col(TIME).cast(pl.Float64)), right.with_columns(pl.col(TIME).cast(pl.Float64))
