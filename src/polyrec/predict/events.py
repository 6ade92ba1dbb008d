"""Events of a user after the known rows, appended to the user's histories.

Shape letters: E events, M elements of a history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.core.batch import Column, Constant, few
from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.log import TIME, USER, Log
from polyrec.data.times import read_times
from polyrec.features.derived import Derived
from polyrec.features.feature import Feature, State


@dataclass(frozen=True)
class Events:
    """The later events of one user, oldest first."""

    frame: pl.DataFrame
    """The columns of the log except the user's key; columns that were not given come from the catalogue, or are null."""
    rows_E: Tensor
    """Rows of the items in the catalogue; -1 for an item that is not in it."""

    @property
    def items(self) -> Tensor:
        """Catalogue rows of the events' items."""
        return self.rows_E[self.rows_E >= 0]


def read_events(
    table: pl.DataFrame, log: Log, item: str, time: str | None, clock: str | None, last: float | None
) -> pl.DataFrame:
    """Return events as rows of the log, sorted by time; only events later than `last`, the user's last known time, are kept.

    Events in the log already are thus not counted twice, and late events, with a time up to `last`, are ignored. If rows have
    no time, all events are kept. Events of equal time keep their order. Columns that are not in the log are left out.

    Raises `UserError` if the item's or the time's column is missing, a time has another type than in training, or a value does
    not fit its column.
    """
    require_columns(table, (item,) if time is None else (item, time), "events")
    schema = {name: kind for name, kind in log.frame.schema.items() if name not in (USER, TIME)}
    columns = []
    for name, kind in schema.items():
        if name in table.columns:
            try:
                columns.append(table[name] if table[name].dtype == kind else table[name].cast(kind))
            except pl.exceptions.PolarsError as error:
                found, remedy = str(error).splitlines()[0], "Give values of the training table's type."
                thing = f"column {name!r} of events"
                raise UserError(thing, expected=f"values of type {kind}", found=found, remedy=remedy) from error
    if time is None:
        return pl.DataFrame(columns)
    times, _ = read_times(table[time], clock)
    at_E = times.to_numpy()
    later_E = np.flatnonzero(at_E > last) if last is not None else np.arange(len(at_E))
    return pl.DataFrame([*columns, times.alias(TIME)])[later_E[np.argsort(at_E[later_E], kind="stable")]]


def completed(events: pl.DataFrame, items: pl.DataFrame, rows_E: Tensor, schema: Mapping[str, pl.DataType]) -> Events:
    """Return events with all columns of the log; missing columns come from the catalogue, or are null."""
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
    """Return a user's constant columns; those that read the log are extended by the events.

    `items` holds the encoded columns of the catalogue. Item features of events are read from it. Other features, and items that
    are not in the catalogue, are encoded from the events.
    """
    extended = dict(columns)
    for name, column in columns.items():
        feature = features[name]
        if isinstance(feature, Derived) and feature.reads_log:
            assert isinstance(column, Constant)
            elements = partial(_elements, states, events, items)
            longer = feature.extended(column.column, column.row, Log(events.frame), features, elements)
            extended[name] = column if longer is None else Constant(longer)
    return extended


def _elements(
    states: Mapping[str, State], events: Events, items: Mapping[str, Column], feature: Feature, matches_E: Tensor
) -> Column:
    """Return the column of a feature for the events at some positions."""
    rows = events.rows_E[matches_E]
    if feature.name in items and (rows >= 0).all():
        return few(items[feature.name], rows)
    values = events.frame[matches_E.numpy()].select(feature.columns)
    return few(feature.encode(values, states[feature.name]), torch.arange(len(matches_E)))
