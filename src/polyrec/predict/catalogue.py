"""`Catalogue`: the items, and predictions for one user. Item features are encoded once, user features once a request.

Shape letters: N rows, B rows of a piece, C outputs of a task, I items, F width of the fixed features, O width of the features
that vary from item to item, X numbers of an item, M items that a user interacted with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Self

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.artifact.parts import Parts
from polyrec.calibration.calibrator import calibrated
from polyrec.core.batch import Column, Ragged, appended
from polyrec.core.errors import UserError
from polyrec.data.encoding import encode_features
from polyrec.data.keys import Keys
from polyrec.data.log import USER, Log
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Roles
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.predict.events import Events, completed, read_events, with_events
from polyrec.predict.items import changed_rows, places
from polyrec.predict.outputs import TaskTensors, lifts_new_items, raised
from polyrec.predict.proposer import Outputs, Proposer
from polyrec.predict.user_pass import UserPass
from polyrec.predict.users import Users
from polyrec.tasks.retrieval import Retrieval

_SAME_FOR_ALL_ITEMS = ("log", "users", "_seen", "_pass", "_objective")
"""Cached attributes that stay valid when items are added or changed, because items keep their rows."""


class Catalogue:
    """Items, users and the log of a fitted recommender, encoded on first use."""

    def __init__(self, parts: Parts, roles: Roles, model: Model) -> None:
        self.parts, self.roles, self.model = parts, roles, model
        self.spec = parts.spec

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue: one row per item, with its key and its known columns."""
        items = self.parts.frames.items
        if items is None:
            remedy = "Declare `item` features; the first Categorical among them is the item's key."
            raise UserError("this recommender", expected="items to rank", found="none declared", remedy=remedy)
        return items

    @property
    def user_key(self) -> str:
        """Name of the user key's column."""
        if self.roles.user is None:
            remedy = "Declare `user` features; the first Categorical among them is the user's key."
            raise UserError("this recommender", expected="users", found="none declared", remedy=remedy)
        return self.roles.user

    @property
    def item_key(self) -> str:
        """Name of the item key's column."""
        assert self.items is not None and self.roles.item is not None
        return self.roles.item

    @cached_property
    def log(self) -> Log:
        """The known rows, by user and time."""
        assert self.parts.frames.log is not None, "only a recommender with users has a log"
        return Log(self.parts.frames.log)

    @cached_property
    def users(self) -> Users:
        """The known users and their features."""
        return Users(self.parts, self.user_key, self.log)

    @cached_property
    def keys(self) -> Keys:
        """Row of each item in the catalogue, by key."""
        return Keys(self.items[self.item_key])

    def with_items(self, changes: pl.DataFrame) -> Self:
        """Return a catalogue with new or changed items; this one stays unchanged for requests that still read it.

        Only the changes are encoded. Items keep their rows; new items are appended.
        """
        rows = changed_rows(changes, self.items, self.item_key)
        place_I = places(rows, self.items, self.item_key)
        items = pl.concat([self.items, rows])[place_I.numpy()]
        changed = type(self)(replace(self.parts, frames=replace(self.parts.frames, items=items)), self.roles, self.model)
        new = encode_features(rows, self.spec.all_features, self.parts.feature_states, only=self._item_columns.keys())
        extended = {name: appended(column, new[name]) for name, column in self._item_columns.items()}
        encoded = zip(self._vectors, self._pass.item_vectors(new, rows.height), strict=True)
        vectors = tuple(torch.cat(pair)[place_I] for pair in encoded)
        columns = {name: column.at(place_I) for name, column in extended.items()}
        shared = {name: getattr(self, name) for name in _SAME_FOR_ALL_ITEMS}
        changed.__dict__ |= {"_item_columns": columns, "_vectors": vectors, **shared}
        if "proposer" in self.__dict__:
            rows_C = changed.rows(rows[self.item_key])
            changed.__dict__["proposer"] = self.proposer.with_items(changed._outputs_of({}, None), changed._is_new, rows_C)
        return changed

    @property
    def item_vectors(self) -> Tensor:
        """Concatenated vectors of the item features for each item, (I, O)."""
        return self._vectors[0]

    def rows(self, items: Sequence[object] | pl.Series) -> Tensor:
        """Return the rows (N,) of some items by key; raise `UserError` for an item that is not in the catalogue."""
        rows = self.keys.find(items)
        if None in rows:
            missing = list(items)[rows.index(None)]
            remedy = "Leave it out, or fit with an item table that contains it."
            raise UserError(f"item {missing!r}", expected="an item of the catalogue", found="none of that key", remedy=remedy)
        return torch.tensor(rows, dtype=torch.long)

    def seen(self, user: object) -> Tensor:
        """Return the catalogue rows (M,) of the items in a user's known rows."""
        keys, rows = self._seen
        (place,) = keys.find([user])
        return torch.zeros(0, dtype=torch.long) if place is None else rows.take(torch.tensor([place])).values

    def events(self, frame: pl.DataFrame | None, user: object) -> Events | None:
        """Read the events of a user after the known rows, if any are given; events that are known already are left out."""
        if frame is None:
            return None
        time, clock = self.roles.time, self.parts.facts.data.clock
        last = None if time is None else self.users.last_time(user)
        later = read_events(frame, self.log, self.item_key, time, clock, last)
        rows = [-1 if row is None else row for row in self.keys.find(later[self.item_key])]
        return completed(later, self.items, torch.tensor(rows, dtype=torch.long), self.log.frame.schema)

    def predict(self, given: Mapping[str, Any], rows_N: Tensor, events: Events | None = None) -> TaskTensors:
        """Return each task's predictions, (N,) or (N, C), for one user and some rows.

        `given` holds the user's key or features. Histories are extended by the events.
        """
        with torch.inference_mode():
            raw = self._raw(self._user(given, events), rows_N)
        predictions = self._objective.predictions(raw, self.parts.task_states)
        if lifts_new_items(self.spec.tasks):
            predictions = raised(predictions, self.spec.tasks, self._is_new[rows_N])
        return TaskTensors(calibrated(self.spec.calibration, self.parts.calibration_states, predictions), raw.context)

    def nearest(self, given: Mapping[str, Any], events: Events | None, count: int, keep_I: Tensor) -> Tensor:
        """Return the sorted rows of the `count` items nearest to a user by the first Retrieval task, among the kept ones."""
        return self.proposer.nearest(self._outputs_of(given, events), count, keep_I)

    @cached_property
    def proposer(self) -> Proposer:
        """The first Retrieval task's vectors of all items."""
        return Proposer.of(self._outputs_of({}, None), self._is_new, 2 * self._retrieval.bonus_of_new_items)

    def unit_vectors(self, rows_N: Tensor) -> Tensor:
        """Return unit vectors of items, (N, D), to compare items by.

        They are the vectors of the first Retrieval task if there is one, else the concatenated vectors of the item features.
        """
        if any(isinstance(task, Retrieval) for task in self.spec.tasks):
            return self.proposer.item_IK[rows_N]
        return functional.normalize(self._vectors[0][rows_N], dim=1)

    @cached_property
    def _retrieval(self) -> Retrieval:
        return next(task for task in self.spec.tasks if isinstance(task, Retrieval))

    def _outputs_of(self, given: Mapping[str, Any], events: Events | None) -> Outputs:
        """Return a function that computes the first Retrieval task's raw outputs for a user and some rows."""
        user = self._user(given, events)
        with torch.inference_mode():
            fixed_F = self._pass.fixed(user)

        def outputs(rows_N: Tensor) -> Tensor:
            with torch.inference_mode():
                return self._pass.task_outputs(self._retrieval.name, fixed_F, partial(self._varying, user), rows_N)

        return outputs

    def vectors(self, given: Mapping[str, Any], row: int, events: Events | None = None) -> Tensor:
        """Return the concatenated vectors of all features, (1, D), for a user and the item in a row of the catalogue."""
        columns = {**self._user(given, events), **self._item_columns}
        with torch.no_grad():
            return self.model.encode(Prepared.of_inputs(columns, 1).batch(torch.tensor([row])))

    def baseline(self, row: int) -> Tensor:
        """Return the concatenated vectors of a row with unknown features, (1, D), followed by the numbers of an item."""
        spec, states = self.spec, self.parts.feature_states
        nothing = self.parts.frames.columns.clear(1)
        only = {feature.name for feature in spec.item}
        item = encode_features(nothing, spec.all_features, states, only=only)
        columns = {**self.users.columns({}), **item}
        with torch.no_grad():
            vectors = self.model.encode(Prepared.of_inputs(columns, 1).batch(torch.zeros(1, dtype=torch.long)))
        vectors[:, self.model.width :] = self._vectors[1][row]
        return vectors

    def user_hidden(self, task: str, given: Mapping[str, Any]) -> Tensor:
        """Return the hidden state (1, H) of a task that reads only user features, for one user."""
        view = next(number for number, readers in enumerate(self.model.views.values()) if (task, 0) in readers)
        with torch.inference_mode():
            fixed_F = self._pass.fixed(self.users.columns(given))
            return self._pass.networks[view](fixed_F, self._vectors[0][:1], [task])[task]

    def numbers(self, feature: str) -> Tensor:
        """Return the numbers (I, X) of a feature for all items."""
        numbers_IX = self._item_columns[feature].take(torch.arange(self.items.height))
        assert isinstance(numbers_IX, Tensor)
        return numbers_IX

    def _user(self, given: Mapping[str, Any], events: Events | None) -> dict[str, Column]:
        columns = self.users.columns(given)
        if events is None or events.frame.height == 0:
            return columns
        features = {feature.name: feature for feature in self.spec.all_features}
        return with_events(columns, events, features, self.parts.feature_states, self._item_columns)

    def _raw(self, user: Mapping[str, Column], rows_N: Tensor) -> TaskTensors:
        return self._pass.raw(self._pass.fixed(user), partial(self._varying, user), rows_N)

    def _varying(self, user: Mapping[str, Column], rows_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors that vary from item to item, (B, O), and the items' numbers, (B, X), for some rows."""
        varying_BO, numbers_BX = (vectors[rows_B] for vectors in self._vectors)
        if self._pass.sides.aimed:
            columns = {**user, **self._item_columns}
            batch = Prepared.of_inputs(columns, len(rows_B)).batch(rows_B)
            varying_BO = torch.cat([varying_BO, self.model.encode(batch, self._pass.sides.aimed)], 1)
        return varying_BO, numbers_BX

    @cached_property
    def _vectors(self) -> tuple[Tensor, Tensor]:
        """The concatenated vectors of the item features, (I, O), and the items' numbers, (I, X)."""
        return self._pass.item_vectors(self._item_columns, self.items.height)

    @cached_property
    def _item_columns(self) -> dict[str, Column]:
        only = {feature.name for feature in self.spec.item}
        return encode_features(self.items, self.spec.all_features, self.parts.feature_states, only=only)

    @cached_property
    def _seen(self) -> tuple[Keys, Ragged]:
        """The users with a known item, and the catalogue rows of their items."""
        rows = self.items.select(self.item_key).with_row_index("row")
        pairs = self.log.frame.select(USER, self.item_key).join(rows, on=self.item_key).drop_nulls().sort(USER)
        runs = pairs[USER].rle().struct.unnest()
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), runs["len"].cast(pl.Int64).to_torch().cumsum(0)])
        return Keys(runs["value"]), Ragged(pairs["row"].cast(pl.Int32).to_torch(), offsets)

    def is_new(self, items: pl.Series) -> Tensor:
        """Return which items (N,), by key, are in no known row."""
        known = self.log.frame[self.item_key].unique()
        return (~items.cast(known.dtype, strict=False).is_in(known.implode())).fill_null(True).to_torch()

    @cached_property
    def _is_new(self) -> Tensor:
        return self.is_new(self.items[self.item_key])

    @cached_property
    def _pass(self) -> UserPass:
        return UserPass(self.model, self.spec)

    @cached_property
    def _objective(self) -> Objective:
        return Objective(self.spec.tasks)
