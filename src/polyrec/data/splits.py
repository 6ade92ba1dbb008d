"""Splits: which rows of a table are held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.core.spec import Family


@dataclass(frozen=True)
class Rows:
    """What a split may look at: the number of rows, and their users and times (None if not declared)."""

    count: int
    users: pl.Series | None
    times: pl.Series | None


class Split(Family, family="splits"):
    """A rule that selects the held-out rows."""

    def held_out(self, rows: Rows, seed: int) -> pl.Series:
        """Return a mask of the held-out rows; raise `UserError` if either side would be empty."""
        mask = self.choose(rows, seed)
        held = int(mask.sum())
        if held == 0 or held == rows.count:
            raise UserError(
                f"the split {self!r}",
                expected="rows on both sides",
                found=f"{rows.count - held} kept and {held} held out of {rows.count}",
                remedy="Provide more rows, another fraction, or a separate validation table.",
            )
        return mask

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        """Return a mask of the held-out rows."""
        raise NotImplementedError

    def needed(self, series: pl.Series | None, what: str) -> pl.Series:
        """Return a column that the split requires; raise `UserError` if it is not declared."""
        if series is None:
            remedy = f"Declare the {what}, or use RandomSplit."
            raise UserError(f"the split {self!r}", expected=f"a {what} column", found="none declared", remedy=remedy)
        return series


_fraction: Any = Field(default=0.1, gt=0.0, lt=1.0)


class RandomSplit(Split):
    """Hold out a random share of the rows.

    Rows of one user fall on both sides, so it measures predictions for known users, not predictions of the future.
    """

    examples = ({}, {"fraction": 0.2})

    fraction: float = _fraction
    """Share of the rows that is held out."""

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        mask = np.zeros(rows.count, dtype=bool)
        mask[np.random.default_rng(seed).permutation(rows.count)[: round(self.fraction * rows.count)]] = True
        return pl.Series(mask)


class TimeSplit(Split):
    """Hold out the latest rows, the split closest to how a recommender is used.

    All rows at the boundary's time are held out, so that rows of equal time are on one side.
    """

    examples = ({}, {"fraction": 0.2})

    fraction: float = _fraction
    """Minimum share of the rows that is held out."""

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        times = self.needed(rows.times, "time")
        boundary = times.sort()[rows.count - max(round(self.fraction * rows.count), 1)]
        return times >= boundary


class LastSplit(Split):
    """Hold out the last rows of each user (leave-last-out).

    Users with at most `count` rows have none held out.
    """

    examples = ({}, {"count": 2})

    count: int = Field(default=1, ge=1)
    """Number of last rows held out per user; rows of equal time are ordered as in the table."""

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        users, times = self.needed(rows.users, "user"), self.needed(rows.times, "time")
        frame = pl.DataFrame({"user": users, "time": times}).with_row_index("row").sort(["user", "time", "row"])
        from_end = pl.len().over("user") - pl.int_range(pl.len()).over("user")
        has_more = pl.len().over("user") > self.count
        return frame.with_columns(held=(from_end <= self.count) & has_more).sort("row")["held"]
