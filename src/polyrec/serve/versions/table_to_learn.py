"""The table that refreshes a version: the rows that it kept, or a table with newer rows, and the events of a store."""

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
    """Interactions, with user and item tables if these are separate."""

    rows: pl.DataFrame
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None

    @staticmethod
    def of(data: Source | Tables) -> TableToLearn:
        """Read the given table or tables."""
        if not isinstance(data, Tables):
            return TableToLearn(read(data, what="data"))
        users = None if data.users is None else read(data.users, what="user table")
        items = None if data.items is None else read(data.items, what="item table")
        return TableToLearn(read(data.interactions, what="interactions"), users, items)

    def tables(self, rows: pl.DataFrame) -> Tables:
        """Return the given rows with the user and item tables."""
        return Tables(rows, self.users, self.items)


def kept_table(fitted: Fitted) -> TableToLearn:
    """Return the rows that a version was fitted on, from its log; users and items have their latest values.

    Raises `UserError` if the version did not keep a needed column: a column of the row itself that no history reads.
    """
    frames, roles = fitted.parts.frames, fitted.roles
    users, items, log, clock = frames.users, frames.items, frames.log, fitted.parts.facts.data.clock
    assert users is not None and items is not None and log is not None and clock is not None
    assert roles.user is not None and roles.item is not None and roles.time is not None
    derived = {*users.columns, *items.columns, USER, TIME} - {roles.item}
    times = _in_type(log[TIME], clock, frames.columns.schema[roles.time])
    rows = log.select(
        pl.col(USER).alias(roles.user), pl.col(roles.item), *(c for c in log.columns if c not in {*derived, roles.item})
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
            thing = "rows that the current version kept"
            expected = "all columns that features and labels read"
            raise UserError(thing, expected=expected, found=f"no column {column!r}", remedy=remedy)
    return TableToLearn(rows, users, items)


def with_events(table: TableToLearn, slot: Slot, store: Store) -> TableToLearn:
    """Return the table without the erased users of a store, and with the store's events appended.

    An event becomes a row of its user, item and time; its `values` fill the columns of the same names. Other columns take the
    current values of the user and the item, or null: a label that the event does not contain is unobserved. An event is left
    out if the table has a row of the same user, item and time, or if its keys cannot be converted to the table's types.
    """
    fitted = slot.fitted
    user, item, time = fitted.roles.user, fitted.roles.item, fitted.roles.time
    clock, known_users = fitted.parts.facts.data.clock, fitted.parts.frames.users
    assert user is not None and item is not None and time is not None and clock is not None and known_users is not None
    table = _without_erased(table, slot, store, user)
    rows, stored_events = table.rows, [event for page in pages(store.events_since) for event in page]
    if not stored_events:
        return table
    events = _event_rows(slot, stored_events, rows.schema)
    events = events.drop_nulls([user, item]).unique([user, item, time], keep="first", maintain_order=True)
    events = _new(events, rows, (user, item, time), clock)
    for side, key in ((fitted.items, item), (known_users, user)):
        known = side.with_columns(pl.col(key).cast(rows.schema[key], strict=False)).drop_nulls(key)
        missing = [column for column in known.columns if column in rows.columns and column not in events.columns]
        events = events.join(known.select(key, *missing), on=key, how="left", maintain_order="left")
    users, items = (
        _grown(table.users, events[user], known_users),
        _grown(table.items, events[item], fitted.items),
    )
    both = pl.concat(
        [rows, events.select(column for column in rows.columns if column in events.columns)], how="diagonal_relaxed"
    )
    return TableToLearn(both, users, items)


def _event_rows(slot: Slot, events: Sequence[Event], schema: pl.Schema) -> pl.DataFrame:
    """Return events as rows of a table, with the columns for which they have values."""
    roles, clock = slot.fitted.roles, slot.fitted.parts.facts.data.clock
    assert roles.user is not None and roles.item is not None and roles.time is not None and clock is not None
    frame = slot.events_frame(events, schema)
    times, _ = read_times(frame[roles.time], clock)
    users = pl.Series([event.user for event in events], dtype=pl.String).cast(schema[roles.user], strict=False)
    items = frame[roles.item].cast(schema[roles.item], strict=False)
    return frame.with_columns(users.alias(roles.user), items, _in_type(times, clock, schema[roles.time]).alias(roles.time))


def _in_type(times: pl.Series, clock: str, kind: pl.DataType) -> pl.Series:
    """Return times in the form of `read_times` as a column of the given type."""
    if clock == NUMBER:
        return times
    moments = times.cast(pl.Datetime("us", "UTC" if clock == ZONED else None))
    if kind == pl.String:
        return moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("%:z" if clock == ZONED else ""))
    return moments.cast(kind)


def _new(events: pl.DataFrame, rows: pl.DataFrame, names: tuple[str, str, str], clock: str) -> pl.DataFrame:
    """Return the events whose user, item and time match no row."""
    user, item, time = names

    def keys(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select(user, item, read_times(frame[time], clock)[0].cast(pl.Float64).alias(TIME))

    held = keys(rows)
    numbered = keys(events).with_row_index("row").join(held, on=[user, item, TIME], how="anti", maintain_order="left")
    return events[numbered["row"]]


def _grown(side: pl.DataFrame | None, keys: pl.Series, known: pl.DataFrame) -> pl.DataFrame | None:
    """Return a user or item table with rows appended for missing keys, filled with known values; none if there is no table."""
    if side is None:
        return None
    key = keys.name
    lacking = keys.unique(maintain_order=True).cast(side.schema[key], strict=False).to_frame().drop_nulls()
    lacking = lacking.join(side, on=key, how="anti", maintain_order="left")
    known_values = known.select(
        pl.col(name).cast(side.schema[name], strict=False) for name in known.columns if name in side.columns
    )
    return pl.concat([side, lacking.join(known_values, on=key, how="left", maintain_order="left")], how="diagonal")


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
