"""Interactions joined with a user table and an item table."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.expressions import require_columns
from polyrec.data.sources import Source, read


@dataclass(frozen=True)
class Tables:
    """A table of interactions, with what is known of users and items in tables of their own.

    Each side table has one row a key; its other columns are added to the interactions by key. An interaction whose key is
    not in the side table keeps nulls there.
    """

    interactions: Source
    users: Source | None = None
    items: Source | None = None


@dataclass(frozen=True)
class Joined:
    """The wide table, and the side tables as they were given."""

    frame: pl.DataFrame
    users: pl.DataFrame | None
    items: pl.DataFrame | None


def join(data: Source | Tables, user: str | None, item: str | None) -> Joined:
    """Read the tables and join the side tables by their keys.

    Raises `UserError` where a key is absent, null, doubled or of another type than in the interactions, or where a column
    stands in two tables.
    """
    if not isinstance(data, Tables):
        return Joined(read(data), None, None)
    frame = read(data.interactions, what="interactions")
    users = None if data.users is None else read(data.users, what="user table")
    items = None if data.items is None else read(data.items, what="item table")
    for side, key, what in ((users, user, "user table"), (items, item, "item table")):
        if side is not None:
            frame = _join(frame, side, key, what)
    return Joined(frame, users, items)


def _join(frame: pl.DataFrame, side: pl.DataFrame, key: str | None, what: str) -> pl.DataFrame:
    if key is None:
        remedy = "Declare a Categorical for the key on that side, or leave the table out."
        raise UserError(what, expected="a key to join it by", found="no key in the declaration", remedy=remedy)
    require_columns(frame, (key,), "interactions")
    require_columns(side, (key,), what)
    keys = side[key]
    if keys.null_count():
        raise UserError(
            f"column {key!r} of the {what}", expected="a key in every row", found="nulls", remedy="Drop these rows."
        )
    if keys.is_duplicated().any():
        twice = keys.filter(keys.is_duplicated()).unique(maintain_order=True).head(3).to_list()
        remedy = f"Keep one row a key: `unique(subset={key!r})`."
        raise UserError(
            f"column {key!r} of the {what}", expected="each key once", found=f"{twice} more than once", remedy=remedy
        )
    if keys.dtype != frame.schema[key]:
        found = f"{keys.dtype} there and {frame.schema[key]} in the interactions"
        raise UserError(f"column {key!r} of the {what}", expected="one type", found=found, remedy="Cast one of the two.")
    both = [column for column in side.columns if column in frame.columns and column != key]
    if both:
        remedy = "Drop the column from one of the two tables, or rename it."
        raise UserError(
            f"column {both[0]!r}",
            expected="one table to hold it",
            found=f"it in the interactions and the {what}",
            remedy=remedy,
        )
    return frame.join(side, on=key, how="left", maintain_order="left")
