"""`Predictor`: a trained model with its states and catalogue, used by evaluation, fitting, export and explanation.

Shape letters: N rows, C outputs of a task, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from rich.console import Console, ConsoleOptions, RenderResult
from torch import Tensor

from polyrec.artifact.parts import Parts
from polyrec.calibration.calibrator import calibrated
from polyrec.core.errors import UserError
from polyrec.core.names import SCORE
from polyrec.core.printing import Printed
from polyrec.data.keys import number_groups
from polyrec.data.log import USER
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.declaration.declaration import Declaration
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.predict.catalogue import Catalogue
from polyrec.predict.outputs import BATCH, TaskTensors, best_first, context_of, lifts_new_items, raised, raw_outputs
from polyrec.predict.rows import prepare_rows, read_rows
from polyrec.predict.summary import summary
from polyrec.predict.users import request_columns


class Predictor(Printed):
    """A trained model with the data that its predictions read: states, log, users and items."""

    def __init__(self, parts: Parts, model: Model | None = None) -> None:
        self.parts = parts
        self.spec: Declaration = parts.spec
        self.roles = parts.facts.data.roles
        self.model = _built(parts) if model is None else model
        self.model.eval()

    def __repr__(self) -> str:
        """Return one line with the network and the tasks."""
        tasks = ", ".join(task.name for task in self.spec.tasks)
        return f"<{type(self).__name__}: {type(self.spec.network).__name__}, tasks {tasks}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render a summary of the model, its training rows and its validation metrics."""
        yield from summary(self.parts)

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue: one row per item, with its key and its known columns."""
        return self.catalogue.items

    @property
    def user_key(self) -> str:
        """Name of the user key's column."""
        return self.catalogue.user_key

    @property
    def item_key(self) -> str:
        """Name of the item key's column."""
        return self.catalogue.item_key

    @property
    def curves(self) -> list[Mapping[str, float]]:
        """One entry per epoch: training losses and validation metrics by `task.metric`, and the utility."""
        return list(self.parts.facts.training.curves)

    def predict(self, data: Source | Tables) -> pl.DataFrame:
        """Return the table's user and item keys, each task's prediction in the label's units, and the fused score.

        A task with one number per row has one column of its name; a task with several classes has a column `task.class` per
        class. Histories contain the training rows and the table's rows strictly before each row's time; without a time column,
        all training rows. The rows of one user are one request: a fusion by ranks compares them with each other.
        """
        frame = read_rows(self.parts, self.roles, data)
        return self.tabulate(frame, self.predict_tensors(frame))

    def score(
        self,
        user: object,
        items: Sequence[object] | pl.Series,
        *,
        features: Mapping[str, Any] | None = None,
        weights: Mapping[str, float] | None = None,
        events: pl.DataFrame | None = None,
    ) -> np.ndarray:
        """Return the fused scores (N,) of some items for one user at the present time, in the given order.

        `user` is the user's key; None for a new user, described by `features`. `features`, `weights` and `events` are as in
        `recommend`. Raises `UserError` for an item that is not in the catalogue.
        """
        rows = self.catalogue.rows(items)
        later = self.catalogue.events(events, user)
        given = request_columns(self.user_key, user, features or {}, {})
        return self.fused(self.catalogue.predict(given, rows, later), weights).numpy()

    def with_items(self, items: pl.DataFrame) -> Self:
        """Return this recommender with items added or changed after training, given as rows with the item's key and columns.

        Columns that are not given keep their values; for a new item they are null. The id of a new item is unknown, so its
        predictions depend on its other features. The model is shared, and this recommender is not changed.
        """
        catalogue = self.catalogue.with_items(items)
        changed = type(self)(catalogue.parts, self.model)
        changed.__dict__["catalogue"] = catalogue
        return changed

    @property
    def can_rank(self) -> bool:
        """Whether users, items and a score to rank the items by exist."""
        return self.roles.user is not None and self.roles.item is not None and self.has_score

    @property
    def has_score(self) -> bool:
        """Whether a task with one number per row, and thus a fused score, exists."""
        return any(task.is_scalar for task in self.spec.tasks)

    def top_rows(self, user: object, k: int) -> dict[str, np.ndarray]:
        """Return the catalogue rows of the top k items for a user, without the items of the user's training rows.

        One list is ranked by the fused score, under `SCORE`, and one by the prediction of each task that ranks the catalogue.
        No rules are applied; all items are candidates.
        """
        keep = torch.ones(self.items.height, dtype=torch.bool)
        keep[self.catalogue.seen(user)] = False
        rows = keep.nonzero().squeeze(1)
        predictions = self.catalogue.predict({self.user_key: user}, rows)
        ranked = {task.name: predictions[task.name] for task in self.spec.tasks if task.ranks_catalogue}
        scores = {SCORE: self._fused(predictions), **ranked}
        return {name: rows[best_first(values, k)].numpy() for name, values in scores.items()}

    def fused(
        self, predictions: Mapping[str, Tensor], weights: Mapping[str, float] | None = None, requests: Tensor | None = None
    ) -> Tensor:
        """Return the fused score (N,) of predictions; `weights` replaces some of the fusion's weights.

        `requests` (N,) holds the number of each row's request; unset, all rows are one request. A fusion that reads a context
        requires predictions from `predict_tensors`. Raises `UserError` if a prediction or a score is not finite because the
        features or the weights are too large.
        """
        scores = self._fused(predictions, weights, requests)
        for task in self.spec.tasks:
            if task.is_scalar:
                thing = f"prediction of the task {task.name!r}"
                _require_finite(predictions[task.name], thing, "Check the values of the features.")
        _require_finite(scores, "the fused score", "Give smaller weights.")
        return scores

    def _fused(
        self, predictions: Mapping[str, Tensor], weights: Mapping[str, float] | None = None, requests: Tensor | None = None
    ) -> Tensor:
        scalar = {task.name: predictions[task.name] for task in self.spec.tasks if task.is_scalar}
        if not scalar:
            found = "only tasks with several outputs"
            remedy = "Add a Binary or Regression task."
            raise UserError("a fused score", expected="a task with one number per row", found=found, remedy=remedy)
        fusion = self.spec.fusion.with_weights(weights, list(scalar)) if weights else self.spec.fusion
        return fusion.score(scalar, requests, self.parts.fusion_states, context_of(predictions))

    def seen_pairs(self) -> pl.DataFrame:
        """Return the user and item keys of the training rows."""
        return self.catalogue.log.frame.select(pl.col(USER).alias(self.user_key), self.item_key)

    def tabulate(self, frame: pl.DataFrame, predictions: Mapping[str, Tensor]) -> pl.DataFrame:
        """Return the result of `predict` for a wide table, given the tensors of `predict_tensors`."""
        keys = [column for column in (self.roles.user, self.roles.item) if column in frame.columns]
        scores = self._fused(predictions, requests=self._requests(frame)) if self.has_score else None
        return pl.DataFrame([*(frame[key] for key in keys), *self._columns(predictions, scores)])

    def predict_tensors(self, frame: pl.DataFrame, raw: Mapping[str, Tensor] | None = None) -> TaskTensors:
        """Return each task's predictions, (N,) or (N, C), calibrated where declared, for a wide table.

        `raw` holds the raw outputs if they are computed already.
        """
        raw = self.raw_tensors(frame) if raw is None else raw
        predictions = Objective(self.spec.tasks).predictions(raw, self.parts.task_states)
        if lifts_new_items(self.spec.tasks):
            predictions = raised(predictions, self.spec.tasks, self.catalogue.is_new(frame[self.item_key]))
        predictions = calibrated(self.spec.calibration, self.parts.calibration_states, predictions)
        return TaskTensors(predictions, context_of(raw))

    def raw_tensors(self, frame: pl.DataFrame) -> TaskTensors:
        """Return each task's raw outputs, (N,) or (N, C), for a wide table."""
        return raw_outputs(self.model, self.spec, prepare_rows(self.catalogue, frame))

    def gates(self, data: Source | Tables) -> dict[str, np.ndarray]:
        """Return the weight (N, E) that each task gives each expert in each row; empty for networks without gates."""
        prepared = prepare_rows(self.catalogue, read_rows(self.parts, self.roles, data))
        with torch.inference_mode():
            pieces = [self.model.gates(batch) for batch in prepared.batches(BATCH)]
        return {task: torch.cat([piece[task] for piece in pieces]).numpy() for task in pieces[0]}

    def _requests(self, frame: pl.DataFrame) -> Tensor | None:
        """Return the request number of each row, (N,), equal for rows of one user; None if the table has no user key."""
        return torch.from_numpy(number_groups(frame[self.roles.user])) if self.roles.user in frame.columns else None

    def _columns(self, predictions: Mapping[str, Tensor], scores: Tensor | None) -> list[pl.Series]:
        """Return predictions as named columns, with the fused score first if it exists."""
        columns = [] if scores is None else [pl.Series(SCORE, scores.numpy())]
        for task in self.spec.tasks:
            names = task.names(self.parts.task_states[task.name])
            values = predictions[task.name].reshape(-1, len(names)).numpy()
            columns += [pl.Series(name, values[:, position]) for position, name in enumerate(names)]
        return columns

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items, encoded for predictions for one user."""
        return Catalogue(self.parts, self.roles, self.model)


def _built(parts: Parts) -> Model:
    """Return the model with the weights of the parts."""
    spec = parts.spec
    with torch.random.fork_rng(devices=[]):
        model = Model(spec.all_features, parts.feature_states, spec.tasks, parts.task_states, spec.network, spec.views)
    model.load_state_dict(dict(parts.weights))
    return model


def _require_finite(values_N: Tensor, thing: str, remedy: str) -> None:
    finite = int(values_N.isfinite().sum())
    if finite < len(values_N):
        found = f"NaN or infinity in {len(values_N) - finite} of {len(values_N)} rows"
        raise UserError(thing, expected="finite numbers", found=found, remedy=remedy)
