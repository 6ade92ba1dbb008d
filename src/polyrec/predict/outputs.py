"""Raw outputs and predictions of a model for the rows of a prepared table.

Shape letters: N rows, B rows of a batch, C outputs of a task, D width of all features together, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.artifact.facts import Frames
from polyrec.core.batch import Batch
from polyrec.data.encoding import encode_features
from polyrec.data.log import USER, Log
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Declaration
from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.tasks.task import Task

BATCH = 1024
"""Number of rows per forward pass; predictions are computed in pieces of this size."""


class TaskTensors(dict[str, Tensor]):
    """Raw outputs or predictions by task for some rows, with the context of these rows that the fusion reads."""

    def __init__(self, values: Mapping[str, Tensor], context: Context = NO_CONTEXT) -> None:
        super().__init__(values)
        self.context = context


def context_of(values: Mapping[str, Tensor]) -> Context:
    """Return the fusion's context of predictions or raw outputs; a plain mapping has none."""
    return values.context if isinstance(values, TaskTensors) else NO_CONTEXT


def joined(pieces: Sequence[TaskTensors]) -> TaskTensors:
    """Concatenate the rows of several pieces."""
    contexts = [piece.context for piece in pieces]
    states, features = _joined([context.states for context in contexts]), _joined([context.features for context in contexts])
    return TaskTensors(_joined(pieces), Context(states, features))


class Pass:
    """Forward pass of a model over a batch: raw outputs, and the context that the fusion reads."""

    def __init__(self, model: Model, spec: Declaration) -> None:
        self.model = model
        self.states = tuple(spec.fusion.states_of([task.name for task in spec.tasks]))
        self.places = {name: model.columns([name]) for name in spec.fusion.features_of()}

    def __call__(self, batch: Batch) -> TaskTensors:
        """Return the raw outputs (B,) or (B, C) of every task."""
        x_BD = self.model.encode(batch)
        hidden = self.model.hidden(self.model.shared(x_BD))
        raw = self.model.outputs(hidden, x_BD[:, self.model.width :])
        features = {name: x_BD[:, place] for name, place in self.places.items()}
        return TaskTensors(raw, Context(self.states_in(hidden), features))

    def states_in(self, hidden_BH: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        """Return the hidden states (B, H) that the fusion reads; those of several views are concatenated."""
        return {name: torch.cat([*hidden_BH[name]], 1) for name in self.states}


def lifts_new_items(tasks: Sequence[Task]) -> bool:
    """Return whether any task adds a bonus to predictions of items that are in no training row."""
    return any(task.bonus_of_new_items for task in tasks)


def raised(predictions: Mapping[str, Tensor], tasks: Sequence[Task], is_new_N: Tensor) -> dict[str, Tensor]:
    """Return predictions, at most 1, with the tasks' bonus for items that are in no training row."""
    bonus = {task.name: task.bonus_of_new_items for task in tasks if task.bonus_of_new_items}
    lifted = {name: (predictions[name] + value * is_new_N).clamp(max=1) for name, value in bonus.items()}
    return {**predictions, **lifted}


def predict(
    model: Model, spec: Declaration, states: Mapping[str, pl.DataFrame], prepared: Prepared, order_N: Tensor | None = None
) -> TaskTensors:
    """Return every task's predictions, (N,) or (N, C), in the label's units before calibration, for all rows or the rows in
    `order_N`."""
    raw = raw_outputs(model, spec, prepared, order_N)
    return TaskTensors(Objective(spec.tasks).predictions(raw, states), raw.context)


def raw_outputs(model: Model, spec: Declaration, prepared: Prepared, order_N: Tensor | None = None) -> TaskTensors:
    """Return every task's raw outputs, (N,) or (N, C), for all rows or the rows in `order_N`."""
    run = Pass(model, spec)
    with torch.inference_mode():
        return joined([run(batch) for batch in prepared.batches(BATCH, order_N)])


def rows_of_nothing(
    spec: Declaration, states: Mapping[str, pl.DataFrame], frames: Frames, user: str | None, rows: int
) -> Batch:
    """Return rows without known values, given the features' states, the kept tables and the name of the user's key."""
    values = frames.columns.clear(rows)
    log, who = None, None
    if spec.reads_log:
        assert user is not None and frames.log is not None, "a history requires a user"
        log, who = Log(frames.log), values.select(pl.col(user).alias(USER))
    columns = encode_features(values, spec.all_features, states, log, who)
    return Prepared.of_inputs(columns, rows).batch(torch.arange(rows))


def _joined(pieces: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def best_first(scores_N: Tensor, k: int) -> Tensor:
    """Return the positions of the k highest scores in descending order; ties go to the earlier position, NaN comes last."""
    scores_N = torch.where(scores_N.isnan(), -torch.inf, scores_N)
    if k >= len(scores_N):
        return torch.argsort(scores_N, descending=True, stable=True)
    values = scores_N.numpy()
    lowest = np.partition(values, len(values) - k)[len(values) - k]
    high = np.flatnonzero(values >= lowest)
    return torch.from_numpy(high[np.argsort(-values[high], kind="stable")][:k])
