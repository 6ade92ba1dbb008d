"""The catalogue of items, predicted for one user: the user's side is encoded once, the items' side once and for all.

Shape letters: N rows, C outputs of a task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl
import torch
from torch import Tensor

from polyrec.artifact import Parts
from polyrec.calibrating import calibrated
from polyrec.core.batch import Column, Constant
from polyrec.core.errors import UserError, nearest
from polyrec.data.histories import USER, Log
from polyrec.data.prepared import Prepared, encode_features
from polyrec.model import Model
from polyrec.objective import Objective
from polyrec.recommender import Recommender, Roles

BATCH = 1024
"""Rows a forward pass; predictions are computed in pieces of this size."""


class Catalogue:
    """Items, users and their past, as a fitted recommender knows them."""

    def __init__(self, parts: Parts, roles: Roles, model: Model) -> None:
        self.parts, self.roles, self.model = parts, roles, model
        self.spec = parts.spec

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue: one row an item, with its key and the columns that are known of it."""
        if "items" not in self.parts.frames:
            remedy = "Declare `item` features; the first Categorical among them is the item's key."
            raise UserError("this recommender", expected="items to rank", found="none declared", remedy=remedy)
        return self.parts.frames["items"]

    @property
    def user_key(self) -> str:
        """The column of the user's key."""
        if self.roles.user is None:
            remedy = "Declare `user` features; the first Categorical among them is the user's key."
            raise UserError("this recommender", expected="users", found="none declared", remedy=remedy)
        return self.roles.user

    @property
    def item_key(self) -> str:
        """The column of the item's key."""
        assert self.items is not None and self.roles.item is not None
        return self.roles.item

    @cached_property
    def log(self) -> Log:
        """The rows that the recommender knows, by user and time."""
        return Log(self.parts.frames["log"])

    def rows(self, items: Sequence[object] | pl.Series) -> Tensor:
        """Return the rows (N,) of some items by their keys; one that is not in the catalogue is refused."""
        key, known = self.item_key, self.items.with_row_index("row")
        asked = pl.Series(key, items).cast(known.schema[key], strict=False).to_frame()
        rows = asked.join(known.select(key, "row"), on=key, how="left", maintain_order="left")["row"]
        if rows.null_count():
            missing = list(items)[rows.is_null().arg_max() or 0]
            remedy = "Leave it out, or fit with an item table that holds it."
            raise UserError(f"item {missing!r}", expected="an item of the catalogue", found="none of that key", remedy=remedy)
        return rows.cast(pl.Int64).to_torch()

    def seen(self, user: object) -> pl.Series:
        """Return the keys of the items in a user's known rows."""
        log = self.log.of_user(user).frame
        return log[self.item_key] if self.roles.item in log.columns else pl.Series([], dtype=self.items.schema[self.item_key])

    def predict(self, given: Mapping[str, Any], rows_N: Tensor) -> dict[str, Tensor]:
        """Return each task's predictions, (N,) or (N, C), for one user, by key or description, and some rows."""
        user = self._user_row(given)
        own = {feature.name for feature in (*self.spec.user, *self.spec.features)}
        log, who = None, None
        if self.spec.has_history:
            who = user.select(pl.col(self.user_key).alias(USER))
            log = self.log.of_user(who[USER][0])
        encoded = encode_features(user, self.spec.all_features, self.parts.feature_states, log, who, own)
        columns = {**{name: Constant(column) for name, column in encoded.items()}, **self._item_columns}
        predictions = predict(self.model, self.spec, self.parts.task_states, Prepared(columns, {}, {}, len(rows_N)), rows_N)
        return calibrated(self.spec.calibration, self.parts.calibration_states, predictions)

    def _user_row(self, given: Mapping[str, Any]) -> pl.DataFrame:
        """Return the one row of what is known of a user, replaced and completed by what is given."""
        schema = self.parts.frames["columns"].schema
        read = {column: schema[column] for f in (*self.spec.user, *self.spec.features) for column in f.columns}
        row: dict[str, Any] = dict.fromkeys(read)
        for name, value in given.items():
            if name not in read:
                expected = "a column of the user's side or of the row"
                raise UserError(f"argument {name!r}", expected=expected, found="no such column", remedy=nearest(name, read))
            row[name] = value
        key, users = self.user_key, self.parts.frames.get("users")
        if users is not None and given.get(key) is not None:
            known = users.filter(pl.col(key) == pl.lit(given[key]).cast(users.schema[key], strict=False))
            if known.height:
                row |= {name: value for name, value in known.row(0, named=True).items() if name in read and name not in given}
        return pl.DataFrame([_cast(name, row[name], kind) for name, kind in read.items()])

    @cached_property
    def _item_columns(self) -> dict[str, Column]:
        only = {feature.name for feature in self.spec.item}
        return encode_features(self.items, self.spec.all_features, self.parts.feature_states, None, None, only)


def predict(
    model: Model, spec: Recommender, states: Mapping[str, pl.DataFrame], prepared: Prepared, order_N: Tensor | None = None
) -> dict[str, Tensor]:
    """Return every task's predictions, (N,) or (N, C), in the label's units and not yet calibrated, for all rows or those in
    `order_N`."""
    return Objective(spec.tasks).predictions(raw_outputs(model, spec, prepared, order_N), states)


def raw_outputs(model: Model, spec: Recommender, prepared: Prepared, order_N: Tensor | None = None) -> dict[str, Tensor]:
    """Return every task's raw outputs, (N,) or (N, C), for all rows or those in `order_N`."""
    pieces: dict[str, list[Tensor]] = {task.name: [] for task in spec.tasks}
    with torch.inference_mode():
        for batch in prepared.batches(BATCH, order_N):
            for name, raw in model(batch).items():
                pieces[name].append(raw)
    return {name: torch.cat(parts) for name, parts in pieces.items()}


def _cast(name: str, value: Any, kind: pl.DataType) -> pl.Series:
    series = pl.Series(name, [value])
    try:
        return series.cast(kind)
    except pl.exceptions.PolarsError as error:
        remedy = "Give a value of the column's type."
        raise UserError(f"argument {name!r}", expected=f"a value of type {kind}", found=f"{value!r}", remedy=remedy) from error
