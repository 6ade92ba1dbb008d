"""The catalogue of items, predicted for one user: the user's side is encoded once, the items' side once and for all.

Shape letters: N rows, B rows of a piece, C outputs of a task, I items, F width of what is the user's, O width of what is an
item's, X numbers of an item, M items that a user met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Self

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.artifact.parts import Parts
from polyrec.calibration.calibrator import calibrated
from polyrec.core.batch import Batch, Column, Ragged, appended
from polyrec.core.errors import UserError
from polyrec.data.encoding import encode_features
from polyrec.data.keys import Keys
from polyrec.data.log import USER, Log
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Roles
from polyrec.fusion.context import Context
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.networks.beside import Beside
from polyrec.predict.events import Events, completed, read_events, with_events
from polyrec.predict.items import changed_rows, places
from polyrec.predict.outputs import BATCH, Pass, TaskTensors, joined, lifts_new_items, raised
from polyrec.predict.proposer import Outputs, Proposer
from polyrec.predict.users import Users
from polyrec.tasks.retrieval import Retrieval

_CACHED, _FEWEST = 2**18, 128
"""float32 values in 1 MiB; smallest batch whose run time exceeds the call overhead."""

_SAME_FOR_ALL_ITEMS = ("log", "users", "_seen", "_sides", "_networks", "_piece", "_pass", "_objective")
"""Cached attributes that stay valid when items are added or changed, because items keep their rows."""


class Catalogue:
    """Items, users and their histories, as stored in a fitted recommender."""

    def __init__(self, parts: Parts, roles: Roles, model: Model) -> None:
        self.parts, self.roles, self.model = parts, roles, model
        self.spec = parts.spec

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue: one row an item, with its key and the columns that are known of it."""
        items = self.parts.frames.items
        if items is None:
            remedy = "Declare `item` features; the first Categorical among them is the item's key."
            raise UserError("this recommender", expected="items to rank", found="none declared", remedy=remedy)
        return items

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
        assert self.parts.frames.log is not None, "only a recommender with users has a log"
        return Log(self.parts.frames.log)

    @cached_property
    def users(self) -> Users:
        """What is known of users."""
        return Users(self.parts, self.user_key, self.log)

    @cached_property
    def keys(self) -> Keys:
        """Where each item stands in the catalogue."""
        return Keys(self.items[self.item_key])

    def with_items(self, changes: pl.DataFrame) -> Self:
        """Return a catalogue with new or changed items; this one stays unchanged for requests in progress.

        Only the changes are encoded. Items keep their rows, and new ones come last.
        """
        rows = changed_rows(changes, self.items, self.item_key)
        place_I = places(rows, self.items, self.item_key)
        items = pl.concat([self.items, rows])[place_I.numpy()]
        other = type(self)(replace(self.parts, frames=replace(self.parts.frames, items=items)), self.roles, self.model)
        new = encode_features(rows, self.spec.all_features, self.parts.feature_states, None, None, self._item_columns.keys())
        both = {name: appended(column, new[name]) for name, column in self._item_columns.items()}
        encoded = zip(self._vectors, self._encoded(new, rows.height), strict=True)
        vectors = tuple(torch.cat(pair)[place_I] for pair in encoded)
        columns = {name: column.at(place_I) for name, column in both.items()}
        shared = {name: getattr(self, name) for name in _SAME_FOR_ALL_ITEMS}
        other.__dict__ |= {"_item_columns": columns, "_vectors": vectors, **shared}
        if "proposer" in self.__dict__:
            rows_C = other.rows(rows[self.item_key])
            other.__dict__["proposer"] = self.proposer.with_items(other._outputs_of({}, None), other._is_new, rows_C)
        return other

    @property
    def item_vectors(self) -> Tensor:
        """Vectors of the items' features side by side, (I, O)."""
        return self._vectors[0]

    def rows(self, items: Sequence[object] | pl.Series) -> Tensor:
        """Return the rows (N,) of items by key; raise `UserError` for an item that is not in the catalogue."""
        rows = self.keys.find(items)
        if None in rows:
            missing = list(items)[rows.index(None)]
            remedy = "Leave it out, or fit with an item table that holds it."
            raise UserError(f"item {missing!r}", expected="an item of the catalogue", found="none of that key", remedy=remedy)
        return torch.tensor(rows, dtype=torch.long)

    def seen(self, user: object) -> Tensor:
        """Return the catalogue rows (M,) of the items in a user's training rows."""
        keys, rows = self._seen
        (place,) = keys.find([user])
        return torch.zeros(0, dtype=torch.long) if place is None else rows.take(torch.tensor([place])).values

    def events(self, frame: pl.DataFrame | None, user: object) -> Events | None:
        """Return the events of a user that are later than the known rows; None without a frame."""
        if frame is None:
            return None
        time, clock = self.roles.time, self.parts.facts.data.clock
        last = None if time is None else self.users.last_time(user)
        read = read_events(frame, self.log, self.item_key, time, clock, last)
        rows = [-1 if row is None else row for row in self.keys.find(read[self.item_key])]
        return completed(read, self.items, torch.tensor(rows, dtype=torch.long), self.log.frame.schema)

    def predict(self, given: Mapping[str, Any], rows_N: Tensor, events: Events | None = None) -> TaskTensors:
        """Return each task's predictions, (N,) or (N, C), for one user, by key or description, and some rows.

        Histories are extended by the events, if any.
        """
        with torch.inference_mode():
            raw = self._raw(self._user(given, events), rows_N)
        predictions = self._objective.predictions(raw, self.parts.task_states)
        if lifts_new_items(self.spec.tasks):
            predictions = raised(predictions, self.spec.tasks, self._is_new[rows_N])
        return TaskTensors(calibrated(self.spec.calibration, self.parts.calibration_states, predictions), raw.context)

    def nearest(self, given: Mapping[str, Any], events: Events | None, count: int, keep_I: Tensor) -> Tensor:
        """Return the sorted rows of the `count` items nearest to a user by the first Retrieval task, among those kept."""
        return self.proposer.nearest(self._outputs_of(given, events), count, keep_I)

    @cached_property
    def proposer(self) -> Proposer:
        """The first Retrieval task's vectors of all items."""
        return Proposer.of(self._outputs_of({}, None), self._is_new, 2 * self._retrieval.bonus_of_new_items)

    def unit_vectors(self, rows_N: Tensor) -> Tensor:
        """Return vectors of length one by which items can be compared, (N, D).

        They come from the first Retrieval task if there is one, else from the items' features side by side.
        """
        if any(isinstance(task, Retrieval) for task in self.spec.tasks):
            return self.proposer.item_IK[rows_N]
        return functional.normalize(self._vectors[0][rows_N], dim=1)

    @cached_property
    def _retrieval(self) -> Retrieval:
        return next(task for task in self.spec.tasks if isinstance(task, Retrieval))

    def _outputs_of(self, given: Mapping[str, Any], events: Events | None) -> Outputs:
        """Return a function from rows to the raw outputs of the first Retrieval task for a user; no other task is computed."""
        name, user = self._retrieval.name, self._user(given, events)
        seen = [(place, view) for view, tasks in enumerate(self.model.views.values()) for task, place in tasks if task == name]
        views = [view for _, view in sorted(seen)]
        head = self.model.heads[name]
        with torch.inference_mode():
            fixed_F = self._fixed(user)

        def outputs(rows_N: Tensor) -> Tensor:
            with torch.inference_mode():
                pieces = [self._own(user, rows_B)[0] for rows_B in rows_N.split(self._piece)]
                hidden = ([self._networks[view](fixed_F, own_BO, [name])[name] for view in views] for own_BO in pieces)
                return torch.cat([head.output(head.state(*states)) for states in hidden])

        return outputs

    def vectors(self, given: Mapping[str, Any], row: int, events: Events | None = None) -> Tensor:
        """Return the vectors of all features side by side, (1, D), for a user and the item in a row of the catalogue."""
        columns = {**self._user(given, events), **self._item_columns}
        with torch.no_grad():
            return self.model.encode(Prepared(columns, {}, {}, 1).batch(torch.tensor([row])))

    def baseline(self, row: int) -> Tensor:
        """Return the vectors of a row with only null values, (1, D), followed by the numbers of the item in a row."""
        spec, states = self.spec, self.parts.feature_states
        nothing = self.parts.frames.columns.clear(1)
        only = {feature.name for feature in spec.item}
        item = encode_features(nothing, spec.all_features, states, None, None, only)
        columns = {**self.users.columns({}), **item}
        with torch.no_grad():
            x_1D = self.model.encode(Prepared(columns, {}, {}, 1).batch(torch.zeros(1, dtype=torch.long)))
        x_1D[:, self.model.width :] = self._vectors[1][row]
        return x_1D

    def user_hidden(self, task: str, given: Mapping[str, Any]) -> Tensor:
        """Return the hidden state (1, H) of a task that sees the user's side alone, for one user."""
        view = next(number for number, seen in enumerate(self.model.views.values()) if (task, 0) in seen)
        with torch.inference_mode():
            fixed_F = self._fixed(self.users.columns(given))
            return self._networks[view](fixed_F, self._vectors[0][:1], [task])[task]

    def numbers(self, feature: str) -> Tensor:
        """Return the numbers (I, X) of the items in a feature."""
        numbers_IX = self._item_columns[feature].take(torch.arange(self.items.height))
        assert isinstance(numbers_IX, Tensor)
        return numbers_IX

    def _user(self, given: Mapping[str, Any], events: Events | None) -> dict[str, Column]:
        columns = self.users.columns(given)
        if events is None or events.frame.height == 0:
            return columns
        features = {feature.name: feature for feature in self.spec.all_features}
        return with_events(columns, events, features, self.parts.feature_states, self._item_columns)

    def _fixed(self, user: Mapping[str, Column]) -> Tensor:
        """Return the vectors of the user's features side by side, (F,)."""
        inputs = {name: column.take(torch.zeros(1, dtype=torch.long)) for name, column in user.items()}
        return self.model.encode(Batch(inputs, {}, {}, 1), self._sides.fixed)[0]

    def _raw(self, user: Mapping[str, Column], rows_N: Tensor) -> TaskTensors:
        fixed_F = self._fixed(user)
        pieces: list[TaskTensors] = []
        for rows_B in rows_N.split(self._piece):
            own_BO, numbers_BX = self._own(user, rows_B)
            hidden = self.model.hidden(partial(self._hidden, fixed_F, own_BO))
            states = self._pass.states_in(hidden)
            pieces.append(TaskTensors(self.model.outputs(hidden, numbers_BX), Context(states)))
        raw = joined(pieces)
        return TaskTensors(raw, Context(raw.context.states, self._features(fixed_F)))

    def _features(self, fixed_F: Tensor) -> dict[str, Tensor]:
        """Return the vectors (1, K) of the features that the fusion reads."""
        columns_F = self.model.columns(self._sides.fixed)
        return {name: fixed_F[torch.searchsorted(columns_F, place)][None] for name, place in self._pass.places.items()}

    def _own(self, user: Mapping[str, Column], rows_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors that differ by item, (B, O), and the items' numbers, (B, X), for some rows."""
        own_BO, numbers_BX = (known[rows_B] for known in self._vectors)
        if self._sides.aimed:
            columns = {**user, **self._item_columns}
            batch = Prepared(columns, {}, {}, len(rows_B)).batch(rows_B)
            own_BO = torch.cat([own_BO, self.model.encode(batch, self._sides.aimed)], 1)
        return own_BO, numbers_BX

    def _hidden(self, fixed_F: Tensor, own_BO: Tensor, view: int, tasks: Sequence[str]) -> Mapping[str, Tensor]:
        return self._networks[view](fixed_F, own_BO, tasks)

    @cached_property
    def _sides(self) -> Sides:
        aimed = [f.name for f in self.spec.all_features if f.sees_target]
        item = [feature.name for feature in self.spec.item]
        return Sides(item, aimed, [f.name for f in self.spec.all_features if f.name not in (*item, *aimed)])

    @cached_property
    def _networks(self) -> list[Beside]:
        """The shared network for each view; the user's part of it is computed once a request."""
        model, sides = self.model, self._sides
        own_O, fixed_F = torch.cat([model.columns(sides.item), model.columns(sides.aimed)]), model.columns(sides.fixed)
        views = (model.get_buffer(f"visible_{number}") for number in range(len(model.views)))
        return [Beside(model.network, own_O, fixed_F, visible_D) for visible_D in views]

    @cached_property
    def _piece(self) -> int:
        """Rows per pass: as many as keep the outputs of the first layers in a core's cache."""
        widest = max(network.width for network in self._networks)
        return min(max(_CACHED // max(widest, 1), _FEWEST), BATCH)

    @cached_property
    def _vectors(self) -> tuple[Tensor, Tensor]:
        """The vectors of the items' features side by side, (I, O), and the numbers that follow them, (I, X)."""
        return self._encoded(self._item_columns, self.items.height)

    def _encoded(self, columns: Mapping[str, Column], rows: int) -> tuple[Tensor, Tensor]:
        prepared = Prepared(columns, {}, {}, rows)
        with torch.inference_mode():
            x_IX = torch.cat([self.model.encode(batch, self._sides.item) for batch in prepared.batches(BATCH)])
        width = len(self.model.columns(self._sides.item))
        return x_IX[:, :width], x_IX[:, width:]

    @cached_property
    def _item_columns(self) -> dict[str, Column]:
        only = {feature.name for feature in self.spec.item}
        return encode_features(self.items, self.spec.all_features, self.parts.feature_states, None, None, only)

    @cached_property
    def _seen(self) -> tuple[Keys, Ragged]:
        """The users with training rows, and the catalogue rows of their items."""
        rows = self.items.select(self.item_key).with_row_index("row")
        met = self.log.frame.select(USER, self.item_key).join(rows, on=self.item_key).drop_nulls().sort(USER)
        runs = met[USER].rle().struct.unnest()
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), runs["len"].cast(pl.Int64).to_torch().cumsum(0)])
        return Keys(runs["value"]), Ragged(met["row"].cast(pl.Int32).to_torch(), offsets)

    def is_new(self, items: pl.Series) -> Tensor:
        """Return which items (N,), by key, occur in no training row."""
        met = self.log.frame[self.item_key].unique()
        return (~items.cast(met.dtype, strict=False).is_in(met.implode())).fill_null(True).to_torch()

    @cached_property
    def _is_new(self) -> Tensor:
        return self.is_new(self.items[self.item_key])

    @cached_property
    def _pass(self) -> Pass:
        return Pass(self.model, self.spec)

    @cached_property
    def _objective(self) -> Objective:
        return Objective(self.spec.tasks)


@dataclass(frozen=True)
class Sides:
    """Names of features, by how their vectors depend on the item for one user."""

    item: Sequence[str]
    """Features of the item; their vectors are computed once for all users."""
    aimed: Sequence[str]
    """Features of the user that depend on the item, such as a history pooled by DIN."""
    fixed: Sequence[str]
    """All others; their vectors are the same for every item."""
