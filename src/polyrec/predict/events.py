"""What a user did after the rows that a recommender knows, read into the user's histories.

Shape letters: E events, M elements of a history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.core.batch import Column, Constant, Paired, Sequence, appended, few
from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import meets, require_columns
from polyrec.data.histories import TIME, USER, Log
from polyrec.data.times import read_times
from polyrec.features.feature import Feature, State
from polyrec.features.history import History
from polyrec.features.joint import elements_of


@dataclass(frozen=True)
class Events:
    """The later events of one user, oldest first."""

    frame: pl.DataFrame
    """The columns of the log, but for the user's key; those that were not told are the catalogue's, or null."""
    rows_E: Tensor
    """Rows of the items in the catalogue; -1 for an item that is not in it."""

    @property
    def items(self) -> Tensor:
        """Rows of the catalogue that the events are about."""
        return self.rows_E[self.rows_E >= 0]


def read_events(
    told: pl.DataFrame, log: Log, item: str, time: str | None, clock: str | None, last: float | None
) -> pl.DataFrame:
    """Return events as rows of the log, those alone that are later than `last`, the user's last known row.

    Of a recommender whose rows have no time, all count.

    What the log holds already does not count twice, and an event that comes late, with a time before the last known row, does
    not count. Events of one instant keep their order. Columns that the log has not are left out.

    Raises `UserError` where the item's or the time's column is missing, a time is of another kind than in training, or a value
    does not fit its column.
    """
    require_columns(told, (item,) if time is None else (item, time), "events")
    schema = {name: kind for name, kind in log.frame.schema.items() if name not in (USER, TIME)}
    columns = []
    for name, kind in schema.items():
        if name in told.columns:
            try:
                columns.append(told[name] if told[name].dtype == kind else told[name].cast(kind))
            except pl.exceptions.PolarsError as error:
                found, remedy = str(error).splitlines()[0], "Give values of the training table's type."
                thing = f"column {name!r} of events"
                raise UserError(thing, expected=f"values of type {kind}", found=found, remedy=remedy) from error
    if time is None:
        return pl.DataFrame(columns)
    times, _ = read_times(told[time], clock)
    at_E = times.to_numpy()
    later_E = np.flatnonzero(at_E > last) if last is not None else np.arange(len(at_E))
    return pl.DataFrame([*columns, times.alias(TIME)])[later_E[np.argsort(at_E[later_E], kind="stable")]]


def completed(events: pl.DataFrame, items: pl.DataFrame, rows_E: Tensor, schema: Mapping[str, pl.DataType]) -> Events:
    """Return events with all columns of the log: those that were not told from the catalogue, where it has them."""
    if (rows_E >= 0).all():
        known = items[rows_E.numpy()]
    else:
        places = pl.Series([row if row >= 0 else None for row in rows_E.tolist()], dtype=pl.UInt32)
        known = items.select(pl.all().gather(places))
    columns = []
    for name, kind in schema.items():
        if name in events.columns:
            columns.append(events[name])
        elif name in known.columns:
            columns.append(known[name].cast(kind, strict=False).alias(name))
        elif name not in (USER, TIME):
            columns.append(pl.Series(name, [None] * len(rows_E), dtype=kind))
    return Events(pl.DataFrame(columns), rows_E)


def with_events(
    columns: Mapping[str, Column],
    events: Events,
    features: Mapping[str, Feature],
    states: Mapping[str, State],
    items: Mapping[str, Column],
) -> dict[str, Column]:
    """Return a user's columns, each the same in every row, with histories that go on with the events.

    `items` holds the catalogue's columns. An event counts in a history by the history's own condition. The elements are those
    of the catalogue; of items that are not in it, and of features that are not the item's, they are read off the events.
    """
    found = dict(columns)
    for name, column in columns.items():
        history = features[name]
        if not isinstance(history, History):
            continue
        assert isinstance(column, Constant) and isinstance(column.column, Sequence)
        counted = _counted(history, events)[-history.length :]
        if len(counted) == 0:
            continue
        of = elements_of(features[history.of], features)
        parts = [_elements(own, states[own.name], events, counted, items) for own in of]
        new = parts[0] if len(parts) == 1 else Paired(*parts)
        found[name] = Constant(_followed(column.column, column.row, new, len(counted), history.length))
    return found


def _counted(history: History, events: Events) -> Tensor:
    """Return which events count, by their place."""
    places = torch.arange(events.frame.height)
    if history.where is None:
        return places
    return places[meets(events.frame, history.where, f"condition of the history {history.name!r}").to_torch()]


def _elements(feature: Feature, state: State, events: Events, counted: Tensor, items: Mapping[str, Column]) -> Column:
    rows = events.rows_E[counted]
    if feature.name in items and (rows >= 0).all():
        return few(items[feature.name], rows)
    read = events.frame[counted.numpy()].select(feature.columns)
    return few(feature.encode(read, state), torch.arange(len(counted)))


def _followed(known: Sequence, row: int, new: Column, count: int, length: int) -> Sequence:
    """Return a sequence of one row: what a user's ends with, and `count` new elements, `length` of both at most."""
    end, kept = int(known.ends_N[row]), min(int(known.lengths_N[row]), length - count)
    both = appended(few(known.elements, torch.arange(end - kept, end)), new) if kept else new
    total = torch.tensor([kept + count])
    return Sequence(both, total, total)
