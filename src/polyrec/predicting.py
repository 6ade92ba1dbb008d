"""What a model says of the rows of a prepared table. Shape letters: N rows, C outputs of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.data.prepared import Prepared
from polyrec.model import Model
from polyrec.objective import Objective
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task

BATCH = 1024
"""Rows a forward pass; predictions are computed in pieces of this size."""


def raised(predictions: Mapping[str, Tensor], tasks: Sequence[Task], is_new_N: Tensor) -> dict[str, Tensor]:
    """Return predictions, at most 1, with what tasks add to those of items that no training row holds."""
    bonus = {task.name: task.bonus_of_new_items for task in tasks if task.bonus_of_new_items}
    lifted = {name: (predictions[name] + own * is_new_N).clamp(max=1) for name, own in bonus.items()}
    return {**predictions, **lifted}


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
