"""`Predictor`: a trained model with its states and catalogue, as evaluation, fitting, export and explanation read it.

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
    """A trained model with all that it reads to answer: states, log, users and items."""

    def __init__(self, parts: Parts, model: Model | None = None) -> None:
        self.parts = parts
        self.spec: Declaration = parts.spec
        self.roles = parts.facts.data.roles
        self.model = _built(parts) if model is None else model
        self.model.eval()

    def __repr__(self) -> str:
        """Return a line: the network and the tasks."""
        tasks = ", ".join(task.name for task in self.spec.tasks)
        return f"<{type(self).__name__}: {type(self.spec.network).__name__}, tasks {tasks}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render what was fitted, and how well it did on validation."""
        yield from summary(self.parts)

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue: one row an item, with its key and the columns that are known of it."""
        return self.catalogue.items

    @property
    def user_key(self) -> str:
        """The column of the user's key."""
        return self.catalogue.user_key

    @property
    def item_key(self) -> str:
        """The column of the item's key."""
        return self.catalogue.item_key

    @property
    def curves(self) -> list[Mapping[str, float]]:
        """One entry an epoch: training losses and validation metrics by `task.metric`, and the utility."""
        return list(self.parts.facts.training.curves)

    def predict(self, data: Source | Tables) -> pl.DataFrame:
        """Return the keys that the table has, each task's prediction in the label's units, and the fused score.

        A task with one number a row has one column, named like it; one with several classes has a column `task.class` for
        each. Histories count the training rows and the table's own rows strictly before each row's time; without a time
        column, all training rows. The rows of one user are one request: a fusion by ranks compares them with each other.
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
        """Return the fused scores (N,) of some items for one user, in the order given, as of now.

        `user` is the user's key, None for someone new, whom `features` describe by column. `features`, `weights` and `events`
        are as in `recommend`. Raises `UserError` for an item that is not in the catalogue.
        """
        rows = self.catalogue.rows(items)
        later = self.catalogue.events(events, user)
        given = request_columns(self.user_key, user, features or {}, {})
        return self.fused(self.catalogue.predict(given, rows, later), weights).numpy()

    def with_items(self, items: pl.DataFrame) -> Self:
        """Return this recommender with items that are new or changed since the training: rows with the item's key and columns.

        Columns that are not given stay as they were, and are null for a new item. A new item is an id never seen: what is known
        of it stands for it. The model is shared, and this recommender stays as it is.
        """
        catalogue = self.catalogue.with_items(items)
        other = type(self)(catalogue.parts, self.model)
        other.__dict__["catalogue"] = catalogue
        return other

    @property
    def can_rank(self) -> bool:
        """Whether there are users, items and a score to rank the items by."""
        return self.roles.user is not None and self.roles.item is not None and self.has_score

    @property
    def has_score(self) -> bool:
        """Whether there is a task with one number a row, and so a fused score."""
        return any(task.is_scalar for task in self.spec.tasks)

    def top_rows(self, user: object, k: int) -> dict[str, np.ndarray]:
        """Return the rows in the catalogue of the top k items for a user, items of the training rows left out.

        There is one list by the fused score, under `SCORE`, and one by the prediction of each task that ranks the catalogue; no
        rules are applied, and all items are candidates.
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
        """Return the fused score (N,) of predictions, with some of the fusion's weights set to others.

        `requests` (N,) tells rows of one request by a number that is theirs alone; unset, all rows are of one. A fusion that
        reads more than predictions wants them as `predict_tensors` returns them. Raises `UserError` where a prediction or a
        score is no finite number: the features or the weights are too large to compute with.
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
            raise UserError("a fused score", expected="a task with one number a row", found=found, remedy=remedy)
        fusion = self.spec.fusion.with_weights(weights, list(scalar)) if weights else self.spec.fusion
        return fusion.score(scalar, requests, self.parts.fusion_states, context_of(predictions))

    def seen_pairs(self) -> pl.DataFrame:
        """Return user's and item's key of the training rows."""
        return self.catalogue.log.frame.select(pl.col(USER).alias(self.user_key), self.item_key)

    def tabulate(self, frame: pl.DataFrame, predictions: Mapping[str, Tensor]) -> pl.DataFrame:
        """Return what `predict` does for a wide table, from the tensors of `predict_tensors`."""
        keys = [column for column in (self.roles.user, self.roles.item) if column in frame.columns]
        scores = self._fused(predictions, requests=self._requests(frame)) if self.has_score else None
        return pl.DataFrame([*(frame[key] for key in keys), *self._columns(predictions, scores)])

    def predict_tensors(self, frame: pl.DataFrame, raw: Mapping[str, Tensor] | None = None) -> TaskTensors:
        """Return each task's predictions, (N,) or (N, C), calibrated where declared, for a wide table.

        `raw` are its raw outputs, where they are known already.
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
        """Return a number for each row, (N,), that is the same for rows of one user; None if the table has no user."""
        return torch.from_numpy(number_groups(frame[self.roles.user])) if self.roles.user in frame.columns else None

    def _columns(self, predictions: Mapping[str, Tensor], scores: Tensor | None) -> list[pl.Series]:
        """Return predictions as named columns, the fused score first where there is one."""
        columns = [] if scores is None else [pl.Series(SCORE, scores.numpy())]
        for task in self.spec.tasks:
            names = task.names(self.parts.task_states[task.name])
            values = predictions[task.name].reshape(-1, len(names)).numpy()
            columns += [pl.Series(name, values[:, position]) for position, name in enumerate(names)]
        return columns

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items, ready to be predicted for one user."""
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
