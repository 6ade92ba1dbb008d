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
    """A table of interactions, with optional side tables of users and of items.

    A side table has one row per key; its other columns are joined to the interactions by key. An interaction with a key that
    the side table lacks has nulls in these columns.
    """

    interactions: Source
    users: Source | None = None
    items: Source | None = None


@dataclass(frozen=True)
class Joined:
    """The wide table, and the side tables as given."""

    wide: WideTable
    users: pl.DataFrame | None
    items: pl.DataFrame | None

    @property
    def frame(self) -> pl.DataFrame:
        """The wide table in memory."""
        return self.wide if isinstance(self.wide, pl.DataFrame) else self.wide.select(self.wide.columns)


@dataclass(frozen=True)
class Looked:
    """A table with the columns of a side table, which are looked up by key when they are selected."""

    wide: WideTable
    side: pl.DataFrame
    key: str
    places: dict[str, pl.Series] = field(default_factory=dict)
    """Row of the side table for each row, stored under "row" after the first lookup."""

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
        wide_names = [name for name in names if name in self.wide.columns]
        frame = self.wide.select(wide_names) if wide_names else pl.DataFrame()
        side_columns = [self.side[name].gather(self._place()) for name in names if name not in wide_names]
        return pl.DataFrame([*frame.get_columns(), *side_columns]).select(names)

    def filter(self, mask: pl.Series, /) -> Looked:
        places = {name: rows.filter(mask) for name, rows in self.places.items()}
        return Looked(self.wide.filter(mask), self.side, self.key, places)

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
    """Read the tables and join the side tables by their keys; `read_wide` replaces `read` for the interactions.

    Raises `UserError` if a key is absent, null, repeated or of another type than in the interactions, or if two tables have a
    column in common.
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
        remedy = "Declare a Categorical feature of that side for the key, or omit the table."
        raise UserError(what, expected="a key to join it by", found="no key in the declaration", remedy=remedy)
    require_columns(frame, (key,), "interactions")
    require_columns(side, (key,), what)
    keys = side[key]
    if keys.null_count():
        raise UserError(
            f"column {key!r} of the {what}", expected="a key in every row", found="nulls", remedy="Drop these rows."
        )
    if keys.is_duplicated().any():
        repeated = keys.filter(keys.is_duplicated()).unique(maintain_order=True).head(3).to_list()
        remedy = f"Keep one row per key: `unique(subset={key!r})`."
        raise UserError(
            f"column {key!r} of the {what}", expected="each key once", found=f"{repeated} more than once", remedy=remedy
        )
    if keys.dtype != frame.schema[key]:
        expected, found = f"{frame.schema[key]}, its type in the interactions", f"{keys.dtype}"
        raise UserError(f"column {key!r} of the {what}", expected=expected, found=found, remedy="Cast one of the two columns.")
    both = [column for column in side.columns if column in frame.columns and column != key]
    if both:
        remedy = "Drop the column from one of the two tables, or rename it."
        raise UserError(
            f"column {both[0]!r}",
            expected="a column of one table only",
            found=f"it in the interactions and in the {what}",
            remedy=remedy,
        )
    if isinstance(frame, pl.DataFrame):
        return frame.join(side, on=key, how="left", maintain_order="left")
    return Looked(frame, side, key)
