"""Interactions joined with a user table and an item table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.read.sources import Source, read
from polyrec.data.read.wide import WideTable


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

    wide: WideTable
    users: pl.DataFrame | None
    items: pl.DataFrame | None

    @property
    def frame(self) -> pl.DataFrame:
        """The wide table in memory."""
        return self.wide if isinstance(self.wide, pl.DataFrame) else self.wide.select(self.wide.columns)


@dataclass(frozen=True)
class Looked:
    """A table with the columns of a side table, looked up by key when they are asked for."""

    wide: WideTable
    side: pl.DataFrame
    key: str
    places: dict[str, pl.Series] = field(default_factory=dict)
    """The row of the side table for each row, once it is known."""

    @property
    def columns(self) -> list[str]:
        return self.wide.columns + [name for name in self.side.columns if name != self.key]

    @property
    def schema(self) -> pl.Schema:
        return self.clear().schema

    @property
    def height(self) -> int:
        return self.wide.height

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        own = [name for name in names if name in self.wide.columns]
        frame = self.wide.select(own) if own else pl.DataFrame()
        looked = [self.side[name].gather(self._place()) for name in names if name not in own]
        return pl.DataFrame([*frame.get_columns(), *looked]).select(names)

    def filter(self, mask: pl.Series, /) -> Looked:
        return Looked(
            self.wide.filter(mask), self.side, self.key, {name: own.filter(mask) for name, own in self.places.items()}
        )

    def clear(self) -> pl.DataFrame:
        return self.wide.clear().hstack(self.side.clear().drop(self.key))

    def _place(self) -> pl.Series:
        if "row" not in self.places:
            keys = pl.DataFrame({"key": self.wide.select([self.key])[self.key]})
            numbered = pl.DataFrame({"key": self.side[self.key]}).with_row_index("row")
            self.places["row"] = keys.join(numbered, on="key", how="left", maintain_order="left")["row"]
        return self.places["row"]


def join(
    data: Source | Tables, user: str | None, item: str | None, read_wide: Callable[[Source, str], WideTable] | None = None
) -> Joined:
    """Read the tables and join the side tables by their keys; `read_wide` may open the interactions another way than `read`.

    Raises `UserError` where a key is absent, null, doubled or of another type than in the interactions, or where a column
    stands in two tables.
    """
    read_wide = read_wide or (lambda source, what: read(source, what=what))
    if not isinstance(data, Tables):
        return Joined(read_wide(data, "data"), None, None)
    frame = read_wide(data.interactions, "interactions")
    users = None if data.users is None else read(data.users, what="user table")
    items = None if data.items is None else read(data.items, what="item table")
    for side, key, what in ((users, user, "user table"), (items, item, "item table")):
        if side is not None:
            frame = _join(frame, side, key, what)
    return Joined(frame, users, items)


def _join(frame: WideTable, side: pl.DataFrame, key: str | None, what: str) -> WideTable:
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
    if isinstance(frame, pl.DataFrame):
        return frame.join(side, on=key, how="left", maintain_order="left")
    return Looked(frame, side, key)
