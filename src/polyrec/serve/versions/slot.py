"""`Slot`: a served version of a model, with the item changes since its training."""

from __future__ import annotations

import datetime
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl
from pydantic import ValidationError

from polyrec.core.errors import UserError, describe
from polyrec.data.encoding import encode_features
from polyrec.data.json_columns import can_be_told, tell_rows
from polyrec.data.log import TIME
from polyrec.data.times import NUMBER, ZONED
from polyrec.predict.items import changed_rows, read_items
from polyrec.recommender import Fitted
from polyrec.rules.exclude import Exclude
from polyrec.rules.rule import Rule
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.records import LAST, Event, ItemChange
from polyrec.serve.stores.store import Store
from polyrec.serve.versions.event_values import read_values

_LOGGER = logging.getLogger(__name__)

_WARMED = 16
"""Number of users whose lists are computed before a version is ready, so that no request pays for first-time work."""


class Slot:
    """A version and its catalogue. A change of items replaces the recommender atomically.

    Raises `UserError` if the times of the training data are numbers but not seconds since 1970. Events have seconds since 1970
    and would all be earlier than the training data.
    """

    def __init__(self, version: str, fitted: Fitted) -> None:
        _require_seconds(version, fitted)
        self.version = version
        self._state: tuple[Fitted, frozenset[str]] = (fitted, frozenset())
        self._sequence = 0
        self._lock = Lock()

    @classmethod
    def load(cls, version: str, path: Path) -> Slot:
        """Load a version and compute some lists; raises `UserError` if it cannot rank or its scores are not finite."""
        fitted = Fitted.load(path)
        if not fitted.can_rank:
            remedy = "Serve a recommender with `user`, `item` and a task with one number a row."
            raise UserError(f"version {version!r}", expected="a recommender that ranks items", found="another", remedy=remedy)
        slot = cls(version, fitted)
        slot.warm()
        return slot

    @property
    def fitted(self) -> Fitted:
        """The recommender with the current catalogue."""
        return self._state[0]

    @property
    def gone(self) -> frozenset[str]:
        """Keys of the removed items, as text."""
        return self._state[1]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Rules that exclude the removed items."""
        gone = self.gone
        return (Exclude(items=tuple(sorted(gone))),) if gone else ()

    def warm(self) -> None:
        """Compute lists for some training users and for no user; raises `UserError` if a score is not finite."""
        fitted = self.fitted
        users = fitted.catalogue.users.frame[fitted.user_key]
        step = max(len(users) // _WARMED, 1)
        for user in (*users[::step].to_list(), None):
            scores = fitted.recommend(**{fitted.user_key: user})["score"]
            if not scores.is_finite().all():
                remedy = "Fit again; the weights are unusable."
                raise UserError(f"version {self.version!r}", expected="finite scores", found="NaN or infinity", remedy=remedy)

    def follow(self, store: Durable | Store) -> int:
        """Apply the new item changes of the store and return their number.

        A change that does not fit this version is logged and left out.
        """
        count = 0
        with self._lock:
            while changes := store.items_since(self._sequence):
                self._change(changes)
                self._sequence = changes[-1].sequence
                count += len(changes)
        return count

    def check_items(self, items: Sequence[Mapping[str, Any]]) -> list[ItemChange]:
        """Return changes of items as records of a store, each with the given columns of its item.

        For a removed item that comes back, the record has all columns, because the store deleted them. Raises `UserError` if a
        change does not fit.
        """
        fitted, gone = self._state
        key, known = fitted.item_key, fitted.items
        frame = read_items([{**item, key: self.item_key(item.get(key))} for item in items], known, key)
        rows = changed_rows(frame, known, key)
        keys = rows[key].cast(pl.String).to_list()
        representable = [name for name in rows.columns if can_be_told(rows.schema[name])]
        changes = []
        for item, row in zip(keys, tell_rows(rows.select(representable)), strict=True):
            columns = row if item in gone else {name: row[name] for name in frame.columns}
            try:
                changes.append(ItemChange(item=item, columns=columns))
            except ValidationError as error:
                remedy = "Give a key of at most 256 characters, and texts without NUL."
                raise UserError(
                    f"item {item!r:.80}", expected="values that every store can keep", found=describe(error), remedy=remedy
                ) from error
        return changes

    def require_fit(self, changes: Sequence[ItemChange]) -> None:
        """Raise `UserError` if an item change, which may come from another version, does not fit this one."""
        fitted = self.fitted
        for group in self._by_columns(changes):
            try:
                rows = changed_rows(self._read(group), fitted.items, fitted.item_key)
                item_features = {feature.name for feature in fitted.spec.item}
                encode_features(rows, fitted.spec.all_features, fitted.parts.feature_states, only=item_features)
            except UserError as error:
                thing = f"version {self.version!r}: {error.thing}"
                raise UserError(thing, expected=error.expected, found=error.found, remedy=error.remedy) from error

    def item_key(self, item: object) -> Any:
        """Return an item's key in the type of the training table; none if the conversion fails."""
        kind = self.fitted.items.schema[self.fitted.item_key]
        return _key(item, kind) if isinstance(item, str | int) and not isinstance(item, bool) else None

    def removal(self, item: str) -> ItemChange:
        """Return the change that removes an item, with the key in the form of the catalogue."""
        return ItemChange(item=self._text(item), columns=None)

    def events_frame(self, events: Sequence[Event], kinds: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
        """Return events as rows for `Fitted.recommend`.

        Values become columns of the log's types, or of `kinds` if given; a value that does not fit its column is null.
        """
        fitted = self.fitted
        kinds = fitted.catalogue.log.frame.schema if kinds is None else kinds
        columns = [pl.Series(fitted.item_key, [event.item for event in events], dtype=pl.String)]
        value_names = dict.fromkeys(name for event in events for name in event.values if name in kinds)
        columns += [
            read_values(name, [event.values.get(name) for event in events], kinds[name])
            for name in value_names
            if name not in (fitted.item_key, fitted.roles.time)
        ]
        if "type" in kinds and all("type" not in event.values for event in events):
            columns.append(pl.Series("type", [event.type for event in events]))
        if fitted.roles.time is not None:
            columns.append(pl.Series(fitted.roles.time, [self._time(event.time) for event in events]))
        kind = fitted.items.schema[fitted.item_key]
        return pl.DataFrame(columns).with_columns(pl.col(fitted.item_key).cast(kind, strict=False))

    def user_key(self, user: str) -> Any:
        """Return a user's key in the type of the training table; none if the conversion fails."""
        kind = self.fitted.catalogue.users.kinds[self.fitted.user_key]
        return _key(user, kind)

    def check_events(self, events: Sequence[Event]) -> None:
        """Raise `UserError` if a value of an event does not fit its column of the training table."""
        kinds = self.fitted.catalogue.log.frame.schema
        for event in events:
            for name, value in event.values.items():
                if name in kinds and value is not None and read_values(name, [value], kinds[name]).null_count():
                    thing = f"value {name!r} of the event {event.id!r}"
                    remedy = "Give a value of the training table's type."
                    raise UserError(thing, expected=f"a value of type {kinds[name]}", found=repr(value), remedy=remedy)

    def _time(self, seconds: float) -> Any:
        """Return a time in the type of the training table."""
        clock = self.fitted.parts.facts.data.clock
        if clock == NUMBER:
            return seconds
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
        return moment if clock == ZONED else moment.replace(tzinfo=None)

    def _change(self, changes: Sequence[ItemChange]) -> None:
        fitted, gone = self.fitted, set(self.gone)
        for change in changes:
            (gone.add if change.columns is None else gone.discard)(self._text(change.item))
        for group in self._by_columns(changes):
            fitted = self._with(fitted, group)
        self._state = fitted, frozenset(gone)

    def _with(self, fitted: Fitted, group: list[ItemChange]) -> Fitted:
        """Return a recommender with changed items; bisection finds the changes that do not fit."""
        try:
            return fitted.with_items(self._read(group))
        except Exception as error:
            if len(group) == 1:
                wrong = "version %s: a change of the item %r does not fit and is left out: %s"
                _LOGGER.error(wrong, self.version, group[0].item, error, exc_info=not isinstance(error, UserError))
                return fitted
            half = len(group) // 2
            return self._with(self._with(fitted, group[:half]), group[half:])

    def _by_columns(self, changes: Sequence[ItemChange]) -> list[list[ItemChange]]:
        """Return the changes that are not removals, grouped by the columns of this version that they set."""
        groups: defaultdict[frozenset[str], list[ItemChange]] = defaultdict(list)
        known = frozenset(self.fitted.items.columns)
        for change in changes:
            if change.columns is not None:
                groups[known.intersection(change.columns)].append(change)
        return list(groups.values())

    def _read(self, changes: Sequence[ItemChange]) -> pl.DataFrame:
        """Return changes of the same columns as rows."""
        items, key = self.fitted.items, self.fitted.item_key
        rows = []
        for change in changes:
            columns = {name: value for name, value in (change.columns or {}).items() if name in items.columns}
            rows.append({**columns, key: self.item_key(change.item)})
        return read_items(rows, items, key)

    def _text(self, item: str) -> str:
        """Return an item's key in the form of the catalogue, as text: item "007" of a request may be item 7."""
        key = self.item_key(item)
        kind = self.fitted.items.schema[self.fitted.item_key]
        return item if key is None else str(pl.Series([key], dtype=kind).cast(pl.String)[0])


def _key(value: str | int, kind: pl.DataType) -> Any:
    """Return a key as a value of a type; none if the conversion fails."""
    try:
        return pl.Series([value]).cast(kind, strict=False)[0]
    except pl.exceptions.PolarsError:
        return None


def _require_seconds(version: str, fitted: Fitted) -> None:
    if fitted.roles.time is None or fitted.parts.facts.data.clock != NUMBER:
        return
    last = fitted.catalogue.log.frame.select(pl.col(TIME).cast(pl.Float64).max()).item()
    if last is not None and last > LAST:
        thing = f"times of version {version!r}, column {fitted.roles.time!r}"
        remedy = "Divide by 1000 if they are milliseconds, or give dates, and fit again."
        raise UserError(thing, expected="seconds since 1970, as events have", found=f"{last:.0f}", remedy=remedy)
