"""Items added to a catalogue or changed after training.

Shape letters: I items after the change, C changed items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.core.errors import UserError, nearest
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.json_columns import read_column


def read_items(changes: Sequence[Mapping[str, object]], items: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return items given as JSON objects as a table for `changed_rows`; all must have the key and the same columns.

    Raises `UserError` for a column that is not in the catalogue or not in every item, and for a value that does not fit.
    """
    names = list(changes[0])
    if key not in names:
        raise UserError("items", expected=f"a column {key!r}", found="none", remedy="Give the key of each item.")
    columns = []
    for name in names:
        _require_known(name, items)
        if any(name not in item for item in changes):
            remedy = "Send items with other columns in a separate call."
            raise UserError("items", expected="the same columns in each", found=f"one without {name!r}", remedy=remedy)
        try:
            columns.append(read_column(name, [item[name] for item in changes], items.schema[name]))
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            raise _misfit(name, items.schema[name], error) from error
    for item in changes:
        for name in item:
            if name not in names:
                _require_known(name, items)
                remedy = "Send items with other columns in a separate call."
                raise UserError("items", expected="the same columns in each", found=f"one with {name!r}", remedy=remedy)
    return pl.DataFrame(columns)


def changed_rows(changes: pl.DataFrame, items: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return the rows of changed items, with all columns of the catalogue.

    Columns that are not given keep their values; for a new item they are null. If an item occurs twice, the last row counts.

    Raises `UserError` for a column that is not in the catalogue, a null key, and a value that does not fit its column.
    """
    require_columns(changes, (key,), "items")
    columns = []
    for name in changes.columns:
        _require_known(name, items)
        try:
            columns.append(changes[name].cast(items.schema[name]))
        except pl.exceptions.PolarsError as error:
            raise _misfit(name, items.schema[name], error) from error
    rows = pl.DataFrame(columns)
    if rows[key].null_count():
        found = f"null in {rows[key].null_count()} rows"
        raise UserError(f"column {key!r} of items", expected="a key in every row", found=found, remedy="Drop these rows.")
    rows = rows.unique(key, keep="last", maintain_order=True)
    others = [name for name in items.columns if name not in rows.columns]
    return rows.join(items.select(key, *others), on=key, how="left", maintain_order="left").select(items.columns)


def _require_known(name: str, items: pl.DataFrame) -> None:
    if name not in items.columns:
        remedy = nearest(name, items.columns)
        raise UserError(f"column {name!r} of items", expected="a column of the catalogue", found="none", remedy=remedy)


def _misfit(name: str, kind: pl.DataType, error: Exception) -> UserError:
    found, remedy = str(error).splitlines()[0][:200], "Give values of the training table's type."
    return UserError(f"column {name!r} of items", expected=f"values of type {kind}", found=found, remedy=remedy)


def places(rows: pl.DataFrame, items: pl.DataFrame, key: str) -> Tensor:
    """Return the position of each item (I,) in the old rows followed by the changed rows; items keep their order, and new items
    come last."""
    old = items.select(key).with_row_index("row")
    old_row = rows.select(key).join(old, on=key, how="left", maintain_order="left")["row"]
    place_I = torch.arange(items.height)
    number_C = torch.arange(items.height, items.height + rows.height)
    is_new_C = old_row.is_null().to_torch()
    place_I[old_row.drop_nulls().cast(pl.Int64).to_torch()] = number_C[~is_new_C]
    return torch.cat([place_I, number_C[is_new_C]])
