"""The table that a version is refreshed from: what it keeps of its own, or a table that went on, and the events of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import columns_of
from polyrec.data.keys import key_texts
from polyrec.data.labels import task_columns
from polyrec.data.log import TIME, USER
from polyrec.data.read.sources import Source, read
from polyrec.data.tables import Tables
from polyrec.data.times import NUMBER, ZONED, read_times
from polyrec.recommender import Fitted
from polyrec.serve.stores.log import pages
from polyrec.serve.stores.records import Event
from polyrec.serve.stores.store import Store
from polyrec.serve.versions.slot import Slot


@dataclass(frozen=True)
class TableToLearn:
    """Interactions, with what is known of users and items where that lies in tables of its own."""

    rows: pl.DataFrame
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None

    @staticmethod
    def of(data: Source | Tables) -> TableToLearn:
        """Read tables as they are given."""
        if not isinstance(data, Tables):
            return TableToLearn(read(data, what="data"))
        users = None if data.users is None else read(data.users, what="user table")
        items = None if data.items is None else read(data.items, what="item table")
        return TableToLearn(read(data.interactions, what="interactions"), users, items)

    def tables(self, rows: pl.DataFrame) -> Tables:
        """Return some of the rows with the side tables."""
        return Tables(rows, self.users, self.items)


def kept_table(fitted: Fitted) -> TableToLearn:
    """Return the rows that a version was fitted on, from its log; users and items are as they were last.

    Raises `UserError` where it kept too little of them: a column of the row itself that no history reads.
    """
    frames, roles = fitted.parts.frames, fitted.roles
    users, items, log = frames["users"], frames["items"], frames["log"]
    assert roles.user is not None and roles.item is not None and roles.time is not None
    told = {*users.columns, *items.columns, USER, TIME} - {roles.item}
    times = _as_told(log[TIME], fitted.parts.facts.data.clock, frames["columns"].schema[roles.time])
    rows = log.select(
        pl.col(USER).alias(roles.user), pl.col(roles.item), *(c for c in log.columns if c not in {*told, roles.item})
    )
    rows = rows.with_columns(times.alias(roles.time))
    spec = fitted.spec
    needed = [column for feature in spec.all_features for column in feature.columns]
    needed += [column for task in spec.tasks for column in task_columns(task)]
    needed += columns_of(spec.relevant, "`relevant`") if spec.relevant else ()
    known = {*rows.columns, *users.columns, *items.columns}
    for column in needed:
        if column not in known:
            remedy = "Give the table that it was fitted on, too: --data."
            thing = "what the current version keeps of its rows"
            raise UserError(thing, expected="all that features and labels read", found=f"no column {column!r}", remedy=remedy)
    return TableToLearn(rows, users, items)


def with_events(table: TableToLearn, slot: Slot, store: Store) -> TableToLearn:
    """Return the table without those who were erased from a store, and with the store's events behind it.

    An event is a row of its user, item and time; its `values` are columns of that name. Other columns are those of the user
    and of the item as a server knows them, or null: a label that the event does not tell is not observed. An event that the
    table has as a row already (same user, item and time), or whose keys can be none of the table's, is left out.
    """
    fitted = slot.fitted
    user, item, time = fitted.roles.user, fitted.roles.item, fitted.roles.time
    assert user is not None and item is not None and time is not None
    table = _without_erased(table, slot, store, user)
    rows, told = table.rows, [event for page in pages(store.events_since) for event in page]
    if not told:
        return table
    events = _event_rows(slot, told, rows.schema)
    events = events.drop_nulls([user, item]).unique([user, item, time], keep="first", maintain_order=True)
    events = _new(events, rows, (user, item, time), fitted.parts.facts.data.clock)
    for side, key in ((fitted.items, item), (fitted.parts.frames.users, user)):
        known = side.with_columns(pl.col(key).cast(rows.schema[key], strict=False)).drop_nulls(key)
        missing = [column for column in known.columns if column in rows.columns and column not in events.columns]
        events = events.join(known.select(key, *missing), on=key, how="left", maintain_order="left")
    users, items = (
        _grown(table.users, events[user], fitted.parts.frames.users),
        _grown(table.items, events[item], fitted.items),
    )
    both = pl.concat(
        [rows, events.select(column for column in rows.columns if column in events.columns)], how="diagonal_relaxed"
    )
    return TableToLearn(both, users, items)


def _event_rows(slot: Slot, events: Sequence[Event], schema: pl.Schema) -> pl.DataFrame:
    """Return events as rows of a table, with those of its columns that they tell."""
    roles, clock = slot.fitted.roles, slot.fitted.parts.facts.data.clock
    assert roles.user is not None and roles.item is not None and roles.time is not None
    frame = slot.events_frame(events, schema)
    times, _ = read_times(frame[roles.time], clock)
    users = pl.Series([event.user for event in events], dtype=pl.String).cast(schema[roles.user], strict=False)
    items = frame[roles.item].cast(schema[roles.item], strict=False)
    return frame.with_columns(users.alias(roles.user), items, _as_told(times, clock, schema[roles.time]).alias(roles.time))


def _as_told(times: pl.Series, clock: str, kind: pl.DataType) -> pl.Series:
    """Return times, as `read_times` gives them, as a column of a kind tells them."""
    if clock == NUMBER:
        return times
    moments = times.cast(pl.Datetime("us", "UTC" if clock == ZONED else None))
    if kind == pl.String:
        return moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("%:z" if clock == ZONED else ""))
    return moments.cast(kind)


def _new(events: pl.DataFrame, rows: pl.DataFrame, names: tuple[str, str, str], clock: str) -> pl.DataFrame:
    """Return the events that are none of the rows: of another user, item or time."""
    user, item, time = names

    def keys(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(user, item, read_times(frame[time], clock)[0].cast(pl.Float64).alias(TIME))

    held = keys(rows)
    numbered = keys(events).with_row_index("row").join(held, on=[user, item, TIME], how="anti", maintain_order="left")
    return events[numbered["row"]]


def _grown(side: pl.DataFrame | None, keys: pl.Series, known: pl.DataFrame) -> pl.DataFrame | None:
    """Return a side table, where there is one, with the keys that it lacks, and what is known of them."""
    if side is None:
        return None
    key = keys.name
    lacking = keys.unique(maintain_order=True).cast(side.schema[key], strict=False).to_frame().drop_nulls()
    lacking = lacking.join(side, on=key, how="anti", maintain_order="left")
    told = known.select(pl.col(name).cast(side.schema[name], strict=False) for name in known.columns if name in side.columns)
    return pl.concat([side, lacking.join(told, on=key, how="left", maintain_order="left")], how="diagonal")


def _without_erased(table: TableToLearn, slot: Slot, store: Store, user: str) -> TableToLearn:
    hashes = store.erased_hashes()
    if not hashes:
        return table
    keys = table.rows[user].drop_nulls().unique()
    texts = key_texts(keys, slot.fitted.catalogue.users.kinds[slot.fitted.user_key])
    erased = keys.filter(pl.Series([store.hashed(text) in hashes for text in texts.to_list()], dtype=pl.Boolean)).implode()
    rows = table.rows.filter(~pl.col(user).is_in(erased).fill_null(False))
    users = None if table.users is None else table.users.filter(~pl.col(user).is_in(erased))
    return replace(table, rows=rows, users=users)
