"""Columns that requests and events may contain, with their values, for example to build a form."""

from __future__ import annotations

from typing import Any

import polars as pl

from polyrec.data.json_columns import can_be_told
from polyrec.data.log import TIME, USER
from polyrec.recommender import Fitted

MOST_VALUES = 50
"""Largest number of distinct values that are listed."""

_ROWS = 100_000
"""Number of rows of a table that are searched for values."""


def feature_columns(fitted: Fitted) -> dict[str, dict[str, Any]]:
    """Return the columns allowed in `features` of a request: those of the user and of the row, except the key.

    Each has a `kind` (`number`, `boolean`, `text`) and its sorted `values`, if they are few; lists are left out.
    """
    users = fitted.catalogue.users.frame
    return _described(users.drop(fitted.user_key))


def item_columns(fitted: Fitted) -> list[str]:
    """Return the columns of the catalogue that an answer may contain: those of types that JSON can represent."""
    return [name for name, kind in fitted.items.schema.items() if can_be_told(kind)]


def event_names(fitted: Fitted) -> list[str]:
    """Return the columns allowed in `values` of an event: those that histories read in addition to item columns."""
    others = {USER, TIME, fitted.user_key, fitted.roles.time, *fitted.items.columns}
    return [name for name in fitted.catalogue.log.frame.columns if name not in others]


def event_columns(fitted: Fitted) -> dict[str, dict[str, Any]]:
    """Return the columns of `event_names` with kinds and values, as in `feature_columns`."""
    return _described(fitted.catalogue.log.frame.select(event_names(fitted)))


def _described(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    kinds = {name: _kind(kind) for name, kind in frame.schema.items()}
    return {name: {"kind": kind, "values": _values(frame[name])} for name, kind in kinds.items() if kind is not None}


def _kind(kind: pl.DataType) -> str | None:
    if kind.is_numeric():
        return "number"
    if kind == pl.Boolean:
        return "boolean"
    return "text" if kind in (pl.String, pl.Categorical, pl.Enum) else None


def _values(column: pl.Series) -> list[Any]:
    """Return the sorted distinct values; an empty list if there are too many."""
    column = column.head(_ROWS).drop_nulls()
    distinct = (column.filter(column.is_finite()) if column.dtype.is_float() else column).unique().sort()
    return distinct.to_list() if len(distinct) <= MOST_VALUES else []
