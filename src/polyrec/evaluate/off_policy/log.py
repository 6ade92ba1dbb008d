"""Reads a log of served lists, and rejects logs that allow no estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from polyrec.core.errors import UserError, nearest
from polyrec.data.conditions.expressions import require_columns

_SLACK = 1e-6
"""Tolerance for propensities above 1 through rounding."""


@dataclass(frozen=True)
class LogColumns:
    """Names of the columns of a log with one row per item of a list. Without requests, every row is a separate list."""

    request: str = "request"
    """Key of the served list."""
    user: str = "user"
    """Key of the user of the list, by which intervals are clustered; optional."""
    item: str = "item"
    """Key of the item."""
    position: str = "position"
    """Rank of the item in its list, from 1; optional if every list has one item."""
    propensity: str = "propensity"
    """Probability of this item at this rank, given the request and the items above it."""

    @classmethod
    def of(cls, options: Sequence[str]) -> LogColumns:
        """Return the column names from options of the form `user=user_id`."""
        roles = [field.name for field in fields(cls)]
        pairs = [option.partition("=")[::2] for option in options]
        for role, name in pairs:
            if role not in roles or not name:
                found = f"{role!r}" if name else f"no name for {role!r}"
                remedy = nearest(role, roles)
                raise UserError("a column of the log", expected="role=name", found=found, remedy=remedy)
        return cls(**dict(pairs))


def read_log(frame: pl.DataFrame, columns: LogColumns, reward: str, ranks: int | None) -> pl.DataFrame:
    """Return the log sorted by request and rank, with columns `list` and `rank`, both from 0, and numbers as Float64.

    Only the first `ranks` ranks are kept. Raises `UserError` for a reward that is not finite, a propensity outside (0, 1], and
    a list whose ranks are not 1, 2, 3 … each once.
    """
    require_columns(frame, (columns.propensity, reward), "the log")
    has_request, has_position = columns.request in frame.columns, columns.position in frame.columns
    request = pl.col(columns.request) if has_request else pl.int_range(pl.len())
    position = pl.col(columns.position) if has_position else pl.lit(1)
    frame = frame.with_columns(
        _numbers(frame, columns.propensity), _numbers(frame, reward), list=request.rank("dense") - 1, rank=position - 1
    )
    if frame["list"].null_count():
        remedy = "Give every served list a key, or drop the column if every row is a separate list."
        raise UserError(f"column {columns.request!r} of the log", expected="a key in every row", found="null", remedy=remedy)
    frame = frame.sort("list", "rank", maintain_order=True)
    is_in_order = frame["rank"] == frame.select(pl.int_range(pl.len()).over("list")).to_series()
    if not is_in_order.fill_null(False).all():
        found = f"other ranks in {frame.filter(~is_in_order.fill_null(False))['list'].n_unique()} lists"
        remedy = f"Log complete lists, with the rank of each item in a column {columns.position!r}."
        raise UserError("ranks of the log", expected="1, 2, 3 … in every list, each once", found=found, remedy=remedy)
    frame = frame if ranks is None else frame.filter(pl.col("rank") < ranks)
    refuse_outside(frame[columns.propensity], "the log", zero=False)
    if not frame[reward].is_finite().fill_null(False).all():
        remedy = "Fill in 0 for events that did not happen, and drop lists whose rewards are not known yet."
        found = "null, NaN or infinite values"
        raise UserError(f"reward {reward!r}", expected="a number in every row", found=found, remedy=remedy)
    return frame


def refuse_outside(probabilities: pl.Series, where: str, *, zero: bool) -> None:
    """Raise `UserError` for probabilities that are null, NaN, above 1 or below 0; or 0, unless `zero` is set."""
    is_good = probabilities.is_between(0, 1 + _SLACK, closed="both" if zero else "right").fill_null(False)
    is_good &= ~probabilities.is_nan().fill_null(True)
    if not is_good.all():
        bad = probabilities.filter(~is_good)
        found = f"{bad[0]} and similar values in {len(bad)} of {len(probabilities)} rows"
        remedy = "Every item shown had a probability above 0: log the probability with which it was drawn."
        remedy = remedy if not zero else "Provide the probability with which the target policy puts the item at its rank."
        expected = "probabilities from 0 to 1" if zero else "probabilities above 0 and up to 1"
        raise UserError(f"column {probabilities.name!r} of {where}", expected=expected, found=found, remedy=remedy)


def clusters(log: pl.DataFrame, user: str) -> np.ndarray:
    """Return the number of each list's user, (J,); a list without a user counts as a separate user."""
    first = log.unique("list", keep="first", maintain_order=True)
    if user not in first.columns:
        return np.arange(first.height)
    known = first[user].rank("dense").cast(pl.Int64).fill_null(-pl.Series(range(1, first.height + 1)))
    return np.unique(known.to_numpy(), return_inverse=True)[1]


def to_ranks(log: pl.DataFrame, values: pl.Series, fill: float) -> np.ndarray:
    """Return one number per row of the log as (J, K), padded with `fill`."""
    lists, ranks = log["list"].to_numpy(), log["rank"].to_numpy()
    table_JK = np.full((int(lists.max()) + 1, int(ranks.max()) + 1), fill)
    table_JK[lists, ranks] = values.to_numpy()
    return table_JK


def _numbers(frame: pl.DataFrame, column: str) -> pl.Series:
    kind = frame.schema[column]
    if not kind.is_numeric() and kind != pl.Boolean:
        remedy = "Cast the column to numbers, or to booleans for a reward."
        raise UserError(f"column {column!r} of the log", expected="numbers", found=str(kind), remedy=remedy)
    return frame[column].cast(pl.Float64)
