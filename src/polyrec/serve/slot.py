"""`Slot`: a version of a model that answers, with the items that changed since its training.

Shape letters: K items of a list.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.times import NUMBER, ZONED
from polyrec.fitted import Fitted
from polyrec.item_changes import changed_rows, read_items
from polyrec.rules.exclude import Exclude
from polyrec.rules.rule import Rule
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.records import Event, ItemChange
from polyrec.serve.stores.store import Store

USUAL = 16
"""Users whose lists are made before a version is ready, so that nothing is computed for the first time in a request."""


class Slot:
    """A version and its catalogue; items are changed by putting another recommender in the place of this one, in one step."""

    def __init__(self, version: str, fitted: Fitted) -> None:
        self.version = version
        self._state: tuple[Fitted, frozenset[str]] = (fitted, frozenset())
        self._sequence = 0
        self._lock = Lock()

    @classmethod
    def load(cls, version: str, path: Path) -> Slot:
        """Load a version and make lists for some users; raises `UserError` where it cannot rank or says what is no number."""
        fitted = Fitted.load(path)
        if not fitted.can_rank:
            remedy = "Serve a recommender with `user`, `item` and a task with one number a row."
            raise UserError(f"version {version!r}", expected="a recommender that ranks items", found="another", remedy=remedy)
        slot = cls(version, fitted)
        slot.warm()
        return slot

    @property
    def fitted(self) -> Fitted:
        """The recommender, with all items that it knows of."""
        return self._state[0]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Rules that leave out the items that were taken away."""
        gone = self._state[1]
        return (Exclude(items=tuple(sorted(gone))),) if gone else ()

    def warm(self) -> None:
        """Make lists for some users of the training and for nobody; raises `UserError` where a score is no number."""
        fitted = self.fitted
        users = fitted.catalogue.users.frame[fitted.user_key]
        step = max(len(users) // USUAL, 1)
        for user in (*users[::step].to_list(), None):
            scores = fitted.recommend(**{fitted.user_key: user})["score"]
            if not scores.is_finite().all():
                remedy = "Fit again; its weights are of no use."
                raise UserError(f"version {self.version!r}", expected="finite scores", found="NaN or infinity", remedy=remedy)

    def follow(self, store: Durable | Store) -> int:
        """Take over the changes of items that the store has; return how many there were."""
        count = 0
        with self._lock:
            while changes := store.items_since(self._sequence):
                self._change(changes)
                self._sequence = changes[-1].sequence
                count += len(changes)
        return count

    def check_items(self, items: Sequence[Mapping[str, Any]]) -> list[ItemChange]:
        """Return changes of items, all columns of each, as a store keeps them; raises `UserError` where one does not fit."""
        key = self.fitted.item_key
        known = self.fitted.items
        told = [{**own, key: self.item_key(own.get(key))} for own in items]
        rows = changed_rows(read_items(told, known, key), known, key)
        return [ItemChange(item=str(own[key]), columns=own) for own in json.loads(rows.write_json())]

    def item_key(self, item: object) -> Any:
        """Return an item's key as the training table tells it; none where it can be no key there."""
        kind = self.fitted.items.schema[self.fitted.item_key]
        told = isinstance(item, str | int) and not isinstance(item, bool)
        return pl.Series([item]).cast(kind, strict=False)[0] if told else None

    def removal(self, item: str) -> ItemChange:
        """Return the change that takes an item away."""
        return ItemChange(item=item, columns=None)

    def events_frame(self, events: Sequence[Event], kinds: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
        """Return events as the rows that `Fitted.recommend` reads, or with values of columns of other `kinds` than the log's; a
        value that does not fit its column is null."""
        fitted = self.fitted
        kinds = fitted.catalogue.log.frame.schema if kinds is None else kinds
        columns = [pl.Series(fitted.item_key, [event.item for event in events], dtype=pl.String)]
        for name in dict.fromkeys(name for event in events for name in event.values):
            if name in kinds and name not in (fitted.item_key, fitted.roles.time):
                values = pl.Series(name, [event.values.get(name) for event in events], strict=False)
                columns.append(values.cast(kinds[name], strict=False))
        if "type" in kinds and all("type" not in event.values for event in events):
            columns.append(pl.Series("type", [event.type for event in events]))
        if fitted.roles.time is not None:
            columns.append(pl.Series(fitted.roles.time, [self._time(event.time) for event in events]))
        kind = fitted.items.schema[fitted.item_key]
        return pl.DataFrame(columns).with_columns(pl.col(fitted.item_key).cast(kind, strict=False))

    def user_key(self, user: str) -> Any:
        """Return a user's key as the training table tells it; none where it can be no key there."""
        kind = self.fitted.catalogue.users.kinds[self.fitted.user_key]
        return pl.Series([user]).cast(kind, strict=False)[0]

    def check_events(self, events: Sequence[Event]) -> None:
        """Raise `UserError` where a value of an event does not fit the column of the training table."""
        kinds = self.fitted.catalogue.log.frame.schema
        for event in events:
            for name, value in event.values.items():
                if name in kinds and value is not None:
                    read = pl.Series([value]).cast(kinds[name], strict=False)
                    if read.null_count():
                        thing = f"value {name!r} of the event {event.id!r}"
                        remedy = "Give a value of the training table's type."
                        raise UserError(thing, expected=f"a value of type {kinds[name]}", found=repr(value), remedy=remedy)

    def _time(self, seconds: float) -> Any:
        """Return a time as the training table tells it."""
        clock = self.fitted.parts.facts["clock"]
        if clock == NUMBER:
            return seconds
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
        return moment if clock == ZONED else moment.replace(tzinfo=None)

    def _change(self, changes: Sequence[ItemChange]) -> None:
        fitted, gone = self._state
        told = [change for change in changes if change.columns is not None]
        if told:
            known = set(fitted.items.columns)
            rows = [{name: value for name, value in (own.columns or {}).items() if name in known} for own in told]
            for names, group in groupby(rows, key=tuple):
                values = list(group)
                fitted = fitted.with_items(pl.DataFrame([pl.Series(name, [own[name] for own in values]) for name in names]))
        back = {change.item for change in told}
        taken = {change.item for change in changes if change.columns is None}
        self._state = fitted, frozenset(gone - back | taken)
