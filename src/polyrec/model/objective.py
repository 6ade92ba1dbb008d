"""`Objective`: from raw outputs to the losses and predictions of tasks that may depend on one another.

Shape letters: N rows of a table, B rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.tasks.binary import Binary
from polyrec.tasks.order import with_earlier
from polyrec.tasks.product import Product
from polyrec.tasks.task import Task
from polyrec.tasks.transfer import Transfer

CHUNK = 1024
"""Rows that are held against each other where the loss of a task relates rows."""

_MOST_ROWS = 65_536


class Objective:
    """What the tasks are trained and judged by; links between them are honoured here and in the model, nowhere else."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tuple(tasks)
        by_name = {task.name: task for task in tasks}
        self.direct = {task.name: () if task.after is None else task.after.tasks for task in tasks}
        self.paths = {task.name: with_earlier(task, by_name, Product) for task in tasks if isinstance(task.after, Product)}
        self.on_path = {name for path in self.paths.values() for name in path}
        self.binary = {task.name for task in tasks if isinstance(task, Binary)}
        self.conditional = {
            task.name: self.direct[task.name]
            for task in tasks
            if self.direct[task.name] and self.binary.issuperset(self.direct[task.name])
        }
        """Tasks with a sample space of their own, by the tasks that must have happened."""

    def losses(
        self, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor], whole: bool = False
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return for each task the loss of each row (B,), zero where it does not count, and which rows count (B,).

        `whole` says that every row is known to count, which saves looking.

        A `Transfer` constrains a Binary task by each Binary task right before it, whatever the other tasks before it are.
        """
        found = {}
        for task in self.tasks:
            name, target = task.name, targets[task.name]
            counts_B = counted(task, target, masks[name])
            if name in self.paths:
                loss_B = self._path_loss(task, raw, targets) + self._propensity_loss(task, raw, targets, masks)
            else:
                loss_B = task.loss(raw[name], target)
                if isinstance(task.after, Transfer) and task.after.constraint and name in self.binary:
                    for earlier in (own for own in self.direct[name] if own in self.binary):
                        excess_B = torch.relu(torch.sigmoid(raw[name]) - self._probability(earlier, raw))
                        loss_B = loss_B + task.after.constraint * excess_B
            found[name] = (loss_B if whole else torch.where(counts_B, loss_B, 0.0), counts_B)
        return found

    def predictions(
        self, raw: Mapping[str, Tensor], states: Mapping[str, pl.DataFrame], given: bool = False
    ) -> dict[str, Tensor]:
        """Return every task's predictions, over all rows or `given` that the tasks right before have happened."""
        found = {}
        for task in self.tasks:
            if task.name in self.on_path and not given:
                found[task.name] = self._probability(task.name, raw)
            else:
                found[task.name] = task.predict(raw[task.name], states[task.name])
        return found

    def happened(self, name: str, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Return in which rows all the tasks right before a task are known to have happened, (N,) of booleans."""
        return torch.stack([masks[earlier] & (targets[earlier] == 1) for earlier in self.conditional[name]]).all(0)

    def constants(self, targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean loss of the best constant of each task, 0 for a task without differing labels."""
        found = {}
        for task in self.tasks:
            observed = _sample(task, targets[task.name][masks[task.name]])
            differs = len(observed) > 0 and bool((observed != observed[0]).any())
            found[task.name] = 0.0
            if differs:
                constant = task.constant(observed)
                found[task.name] = mean_loss(task, constant.expand(len(observed), *constant.shape[1:]), observed)
        return found

    def mean_losses(
        self, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Return the mean loss of each task over the rows that count, as a constant would have one; NaN where none does.

        What a link adds to the loss in training (inverse propensities, a constraint) is not in it.
        """
        found = {}
        for task in self.tasks:
            mask = masks[task.name]
            if task.name in self.paths:
                found[task.name] = float(self._path_loss(task, raw, targets)[mask].mean())
            else:
                found[task.name] = mean_loss(task, raw[task.name][mask], targets[task.name][mask])
        return found

    def _path_loss(self, task: Task, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        log_B, target_B = self._log_probability(task.name, raw), targets[task.name]
        return -target_B * log_B - (1 - target_B) * _log_one_minus(log_B)

    def _propensity_loss(
        self, task: Task, raw: Mapping[str, Tensor], targets: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> Tensor:
        link = task.after
        assert isinstance(link, Product)
        if link.propensity_clip is None:
            return torch.zeros(())
        earlier = [name for name in self.paths[task.name] if name != task.name]
        propensity_B = sum((functional.logsigmoid(raw[name]) for name in earlier), start=torch.zeros(())).detach().exp()
        own_B = functional.binary_cross_entropy_with_logits(raw[task.name], targets[task.name], reduction="none")
        weight_B = self.happened(task.name, targets, masks) / propensity_B.clamp(min=link.propensity_clip)
        return link.propensity_weight * weight_B * own_B

    def _log_probability(self, name: str, raw: Mapping[str, Tensor]) -> Tensor:
        return sum((functional.logsigmoid(raw[step]) for step in self.paths.get(name, (name,))), start=torch.zeros(()))

    def _probability(self, name: str, raw: Mapping[str, Tensor]) -> Tensor:
        return self._log_probability(name, raw).exp()


def counted(task: Task, target: Tensor, mask: Tensor) -> Tensor:
    """Return which rows have a loss of a task, (B,) of booleans."""
    return mask & task.counts(target) if task.relates_rows else mask


def _sample(task: Task, observed: Tensor) -> Tensor:
    """Return some 65,536 of the encoded labels, spread over the rows; of labels within groups, whole groups."""
    group = task.group(observed)
    if group is not None:
        return observed[torch.argsort(group, stable=True)][:_MOST_ROWS]
    return observed[:: max(len(observed) // _MOST_ROWS, 1)]


def mean_loss(task: Task, raw: Tensor, target: Tensor) -> float:
    """Return the mean loss of observed rows; where a task relates rows, in chunks of rows that belong together."""
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


def _log_one_minus(log_B: Tensor) -> Tensor:
    """Return log(1 - exp(log_B)) for log_B < 0, exact at both ends (Maechler, 2012)."""
    log_B = log_B.clamp(max=-1e-7)
    near_zero = log_B > -math.log(2)
    return torch.where(near_zero, (-torch.expm1(log_B)).log(), torch.log1p(-torch.exp(torch.where(near_zero, -1.0, log_B))))
