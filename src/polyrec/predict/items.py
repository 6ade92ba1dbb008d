"""Items that are added to a catalogue or changed after the training.

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


def read_items(told: Sequence[Mapping[str, object]], items: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return items that are told one by one, in values of JSON, as the rows that `changed_rows` reads: each with the key and
    the same columns.

    Raises `UserError` for a column that the catalogue has not or not every item tells, and for a value that does not fit.
    """
    names = list(told[0])
    if key not in names:
        raise UserError("items", expected=f"a column {key!r}", found="none", remedy="Tell the key of each item.")
    columns = []
    for name in names:
        _require_known(name, items)
        if any(name not in own for own in told):
            remedy = "Tell items with other columns in a call of their own."
            raise UserError("items", expected="the same columns of each", found=f"one without {name!r}", remedy=remedy)
        try:
            columns.append(read_column(name, [own[name] for own in told], items.schema[name]))
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            raise _misfit(name, items.schema[name], error) from error
    for own in told:
        for name in own:
            if name not in names:
                _require_known(name, items)
                remedy = "Tell items with other columns in a call of their own."
                raise UserError("items", expected="the same columns of each", found=f"one with {name!r}", remedy=remedy)
    return pl.DataFrame(columns)


def changed_rows(told: pl.DataFrame, items: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return the rows of changed items, with all columns of the catalogue.

    Columns that are not told stay as they were; of a new item they are null. Of an item told twice, the last row counts.

    Raises `UserError` for a column that the catalogue has not, a null key and a value that does not fit its column.
    """
    require_columns(told, (key,), "items")
    columns = []
    for name in told.columns:
        _require_known(name, items)
        try:
            columns.append(told[name].cast(items.schema[name]))
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
    """Return where each item (I,) stands among the old rows with the changed ones behind them: an item keeps its row, and new
    items come last."""
    old = items.select(key).with_row_index("row")
    found = rows.select(key).join(old, on=key, how="left", maintain_order="left")["row"]
    place_I = torch.arange(items.height)
    number_C = torch.arange(items.height, items.height + rows.height)
    is_new_C = found.is_null().to_torch()
    place_I[found.drop_nulls().cast(pl.Int64).to_torch()] = number_C[~is_new_C]
    return torch.cat([place_I, number_C[is_new_C]])
