"""`Objective`: the losses and predictions of linked tasks from raw outputs.

Shape letters: N rows of a table, B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.tasks.link import Path, happened
from polyrec.tasks.order import with_earlier
from polyrec.tasks.task import Task

CHUNK = 1024
"""Rows compared with one another if the loss of a task relates rows."""

_MOST_ROWS = 65_536
"""Approximate number of labels from which the best constant is computed."""


class Objective:
    """The losses and predictions of all tasks. Only this class and `Model` apply the links between tasks."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        by_name = {task.name: task for task in tasks}
        logits = frozenset(task.name for task in tasks if task.is_logit)
        linked = [(task, task.after) for task in tasks if task.after is not None]
        self.links = {task.name: link for task, link in linked}
        self.paths = {
            task.name: Path(task.name, link.tasks, with_earlier(task, by_name, type(link)), logits) for task, link in linked
        }
        self.on_path = {name for task, link in linked if link.forms_path for name in self.paths[task.name].chain}
        self.conditional = {task.name: link.tasks for task, link in linked if logits.issuperset(link.tasks)}
        """Tasks defined only on rows in which other tasks have happened, with the names of these other tasks."""

    def losses(
        self, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor], whole: bool = False
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return, by task, the loss of each row (B,), zero for rows that do not count, and whether each row counts (B,).

        Set `whole` if every label is observed; masks are then not inspected.
        """
        losses = {}
        probability = partial(self._probability, raw=raw)
        for task in self.tasks:
            name, target = task.name, targets[task.name]
            counts_B = counted(task, target, masks[name])
            loss = partial(task.loss, raw[name], target)
            if name in self.links:
                loss_B = self.links[name].training_loss(loss, self.paths[name], raw, targets, masks, probability)
            else:
                loss_B = loss()
            losses[name] = (loss_B if whole else torch.where(counts_B, loss_B, 0.0), counts_B)
        return losses

    def predictions(
        self, raw: Mapping[str, Tensor], states: Mapping[str, pl.DataFrame], given: bool = False
    ) -> dict[str, Tensor]:
        """Return every task's predictions. Set `given` for predictions conditional on the preceding tasks having happened."""
        predictions = {}
        for task in self.tasks:
            if task.name in self.on_path and not given:
                predictions[task.name] = self._probability(task.name, raw)
            else:
                predictions[task.name] = task.predict(raw[task.name], states[task.name])
        return predictions

    def happened(self, name: str, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Return whether all direct predecessors of a task are observed to have happened, (N,) of booleans."""
        return happened(self.conditional[name], targets, masks)

    def constants(self, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean loss of the best constant prediction by task; 0 for a task whose labels are all equal."""
        losses = {}
        for task in self.tasks:
            observed = _sample(task, targets[task.name][masks[task.name]])
            differs = len(observed) > 0 and bool((observed != observed[0]).any())
            losses[task.name] = 0.0
            if differs:
                constant = task.constant(observed)
                losses[task.name] = mean_loss(task, constant.expand(len(observed), *constant.shape[1:]), observed)
        return losses

    def mean_losses(
        self, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Return the mean loss over the rows that count, by task, comparable to `constants`; NaN if no row counts.

        Terms that links add in training (inverse propensities, a constraint) are excluded.
        """
        losses = {}
        probability = partial(self._probability, raw=raw)
        for task in self.tasks:
            name, mask = task.name, masks[task.name]
            if name in self.links and self.links[name].forms_path:
                loss = partial(task.loss, raw[name], targets[name])
                losses[name] = float(self.links[name].loss(loss, self.paths[name], raw, targets, probability)[mask].mean())
            else:
                losses[name] = mean_loss(task, raw[name][mask], targets[name][mask])
        return losses

    def _probability(self, name: str, raw: Mapping[str, Tensor]) -> Tensor:
        """Return the unconditional probability of a task whose raw output is a logit."""
        if name in self.links and self.links[name].forms_path:
            return self.links[name].probability(self.paths[name], raw)
        return functional.logsigmoid(raw[name]).exp()


def counted(task: Task, target: Tensor, mask: Tensor) -> Tensor:
    """Return for each row whether it has a loss of the task, (B,) of booleans."""
    return mask & task.counts(target) if task.relates_rows else mask


def _sample(task: Task, observed: Tensor) -> Tensor:
    """Return about 65,536 encoded labels, spread evenly over the rows; if labels are grouped, the first ones by group."""
    group = task.group(observed)
    if group is not None:
        return observed[torch.argsort(group, stable=True)][:_MOST_ROWS]
    return observed[:: max(len(observed) // _MOST_ROWS, 1)]


def mean_loss(task: Task, raw: Tensor, target: Tensor) -> float:
    """Return the mean loss of observed rows; if the task relates rows, computed in chunks sorted by group."""
    if not task.relates_rows:
        return float(task.loss(raw, target).mean()) if len(target) else math.nan
    group = task.group(target)
    order = torch.arange(len(target)) if group is None else torch.argsort(group, stable=True)
    total, count = 0.0, 0
    for rows in order.split(CHUNK):
        counts_B = task.counts(target[rows])
        total += float(torch.where(counts_B, task.loss(raw[rows], target[rows]), 0.0).sum())
        count += int(counts_B.sum())
    return total / count if count else math.nan
