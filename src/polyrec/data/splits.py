"""Splits: which rows of a table are held out. One idea each, so they share this file."""

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
    """What a split may look at: how many rows, and whose and when they are (None where not declared)."""

    count: int
    users: pl.Series | None
    times: pl.Series | None


class Split(Family, family="splits"):
    """A way to hold rows out."""

    def held_out(self, rows: Rows, seed: int) -> pl.Series:
        """Return true for the rows that are held out; raises `UserError` where either side would be empty."""
        mask = self.choose(rows, seed)
        held = int(mask.sum())
        if held == 0 or held == rows.count:
            raise UserError(
                f"the split {self!r}",
                expected="rows on both sides",
                found=f"{rows.count - held} kept and {held} held out of {rows.count}",
                remedy="Give more rows, another fraction, or a validation table of your own.",
            )
        return mask

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        """Return true for the rows that are held out."""
        raise NotImplementedError

    def needed(self, series: pl.Series | None, what: str) -> pl.Series:
        """Return a column that the split cannot do without."""
        if series is None:
            remedy = f"Declare the {what}, or use RandomSplit."
            raise UserError(f"the split {self!r}", expected=f"a {what} column", found="none declared", remedy=remedy)
        return series


_fraction: Any = Field(default=0.1, gt=0.0, lt=1.0)


class RandomSplit(Split):
    """Hold out a random share of the rows.

    Rows of one user stand on both sides, so it judges how well known users are predicted, not how well the future is.
    """

    examples = ({}, {"fraction": 0.2})

    fraction: float = _fraction
    """Share of the rows that is held out."""

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        mask = np.zeros(rows.count, dtype=bool)
        mask[np.random.default_rng(seed).permutation(rows.count)[: round(self.fraction * rows.count)]] = True
        return pl.Series(mask)


class TimeSplit(Split):
    """Hold out the latest rows: the closest to how a recommender is used.

    Rows of the instant at the boundary are all held out, so that no instant stands on both sides.
    """

    examples = ({}, {"fraction": 0.2})

    fraction: float = _fraction
    """Share of the rows that is held out, at least."""

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        times = self.needed(rows.times, "time")
        boundary = times.sort()[rows.count - max(round(self.fraction * rows.count), 1)]
        return times >= boundary


class LastSplit(Split):
    """Hold out the last rows of each user: leave-last-out.

    Users with no more rows than that are kept whole.
    """

    examples = ({}, {"count": 2})

    count: int = Field(default=1, ge=1)
    """How many of each user's last rows are held out; of rows at one instant, those further down the table."""

    def choose(self, rows: Rows, seed: int) -> pl.Series:
        users, times = self.needed(rows.users, "user"), self.needed(rows.times, "time")
        frame = pl.DataFrame({"user": users, "time": times}).with_row_index("row").sort(["user", "time", "row"])
        from_end = pl.len().over("user") - pl.int_range(pl.len()).over("user")
        has_more = pl.len().over("user") > self.count
        return frame.with_columns(held=(from_end <= self.count) & has_more).sort("row")["held"]
