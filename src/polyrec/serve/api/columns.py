"""Columns that a request or an event may tell, with the values that they take: what a form has to offer."""

from __future__ import annotations

from typing import Any

import polars as pl

from polyrec.data.json_columns import can_be_told
from polyrec.data.log import TIME, USER
from polyrec.recommender import Fitted

MOST_VALUES = 50
"""Distinct values up to which they are listed."""

_ROWS = 100_000
"""Rows of a table that are looked at for values."""


def feature_columns(fitted: Fitted) -> dict[str, dict[str, Any]]:
    """Return the columns that `features` of a request may hold: those of the user's side and of the row, but for the key.

    Each has a `kind` (`number`, `boolean`, `text`) and its `values` in order, where they are few; lists are left out.
    """
    users = fitted.catalogue.users.frame
    return _described(users.drop(fitted.user_key))


def item_columns(fitted: Fitted) -> list[str]:
    """Return the columns of the catalogue that an answer may tell: those of types that JSON has a form for."""
    return [name for name, kind in fitted.items.schema.items() if can_be_told(kind)]


def event_names(fitted: Fitted) -> list[str]:
    """Return the columns that `values` of an event may hold: those that histories read beside the item's columns."""
    others = {USER, TIME, fitted.user_key, fitted.roles.time, *fitted.items.columns}
    return [name for name in fitted.catalogue.log.frame.columns if name not in others]


def event_columns(fitted: Fitted) -> dict[str, dict[str, Any]]:
    """Return the columns of `event_names`, described as `feature_columns` are."""
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
    """Return the distinct values in order; none where they are many."""
    column = column.head(_ROWS).drop_nulls()
    found = (column.filter(column.is_finite()) if column.dtype.is_float() else column).unique().sort()
    return found.to_list() if len(found) <= MOST_VALUES else []
