"""Lists and items in the form of answers. Shape letters: K items of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns
from polyrec.predict.recommend import Recommendation
from polyrec.recommender import Fitted
from polyrec.serve.api import messages
from polyrec.serve.api.columns import item_columns
from polyrec.serve.gate.guard import RefusedError


def require_answerable(fitted: Fitted, columns: Sequence[str]) -> None:
    """Raise `UserError` for a column that the catalogue lacks or that JSON cannot represent."""
    require_columns(fitted.items.select(item_columns(fitted)), columns, "`columns` of the catalogue")


def rows_of(fitted: Fitted, items: Sequence[str]) -> Tensor:
    """Return the catalogue rows of items; raises `RefusedError` with 404 for an unknown item."""
    try:
        return fitted.catalogue.rows(items)
    except UserError as error:
        raise RefusedError(404, str(error)) from error


def answered_items(fitted: Fitted, result: Recommendation, columns: Sequence[str]) -> list[messages.RecommendedItem]:
    """Return the items of a list as they appear in an answer."""
    listed = result.listed
    rows_K = torch.from_numpy(listed.rows_K)
    keys = fitted.items[fitted.item_key][listed.rows_K].cast(pl.String).to_list()
    tasks = _by_item(fitted.spec.tasks, fitted.parts.task_states, result.predictions, len(keys))
    columns_of_items = zip(
        keys,
        listed.scores_K.tolist(),
        listed.propensities_K.tolist(),
        tasks,
        columns_of(fitted.items, rows_K, columns),
        strict=True,
    )
    return [
        messages.RecommendedItem(item=key, score=score, propensity=propensity, tasks=predictions, columns=columns)
        for key, score, propensity, predictions, columns in columns_of_items
    ]


def _by_item(
    tasks: Sequence[Any], states: Mapping[str, pl.DataFrame], predictions: Mapping[str, Tensor], count: int
) -> list[dict[str, float]]:
    """Return each item's predictions by task, or by `task.class`."""
    names: list[str] = []
    values = []
    for task in tasks:
        names_of_task = task.names(states[task.name])
        names += names_of_task
        values.append(predictions[task.name].reshape(count, len(names_of_task)).double())
    rows = torch.cat(values, 1).tolist() if count else []
    return [dict(zip(names, row, strict=True)) for row in rows]


def columns_of(items: pl.DataFrame, rows_K: Tensor, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the requested columns of the items in the given rows, one dictionary a row."""
    if not columns:
        return [{} for _ in range(len(rows_K))]
    return items.select(list(dict.fromkeys(columns)))[rows_K.numpy()].to_dicts()
