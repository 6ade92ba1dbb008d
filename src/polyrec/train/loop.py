"""The training loop.

A run is a function of its seed: every epoch seeds its own order of rows and its dropout, so that a training resumed after any
epoch ends with the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn, optim

from polyrec.balancing.balancer import Balance
from polyrec.core.batch import Batch
from polyrec.core.errors import UserError
from polyrec.data.prepared import Prepared
from polyrec.model import Model
from polyrec.tasks.task import Task
from polyrec.train import checkpoint
from polyrec.train.optimizers import build_optimizer, step_size
from polyrec.train.training import Training

Judge = Callable[[Model], Mapping[str, float]]
"""Returns validation metrics by `task.metric`, with the `utility` among them."""


@dataclass(frozen=True)
class Run:
    """What a training leaves behind besides the weights."""

    curves: list[dict[str, float]]
    """One entry an epoch: `task.loss` over the training rows and what the judge returned."""
    best_epoch: int
    """Epoch whose weights the model holds, counted from 1."""


def train(
    model: Model,
    tasks: Sequence[Task],
    balance: Balance,
    data: Prepared,
    training: Training,
    judge: Judge | None,
    *,
    fingerprint: str = "",
    checkpoint_folder: Path | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    title: str = "training",
    progress: bool = True,
) -> Run:
    """Train a model in place and leave in it the weights of the best epoch (of the last, without a judge).

    With a `checkpoint_folder` the state is written there after every epoch; with `resume` training goes on from what the
    folder holds, if anything. `stop_after` ends the training early on the schedule of the whole budget.
    """
    optimizer = build_optimizer([*model.parameters(), *balance.parameters()], training)
    state, best = checkpoint.Progress(fingerprint, []), _copy(model)
    if resume and checkpoint_folder is not None and checkpoint_folder.exists():
        best, state = checkpoint.load_checkpoint(checkpoint_folder, model, balance, optimizer, fingerprint)
    with torch.random.fork_rng(devices=[]), _bar(progress) as bar:
        last = min(training.epochs, stop_after or training.epochs)
        line = bar.add_task(title, total=last, completed=len(state.curves), note="")
        while len(state.curves) < last and not _is_stale(state, training):
            epoch = len(state.curves) + 1
            entry = _epoch(model, tasks, balance, optimizer, data, training, epoch)
            if judge is None:
                state.best_epoch = epoch
            else:
                model.eval()
                entry |= judge(model)
                if state.best_epoch == 0 and math.isnan(entry["utility"]):
                    raise _undefined(entry)
                if entry["utility"] > state.best_utility:
                    state.best_epoch, state.best_utility, best = epoch, entry["utility"], _copy(model)
            state.curves.append(entry)
            if checkpoint_folder is not None:
                checkpoint.save_checkpoint(checkpoint_folder, model, balance, optimizer, best, state)
            bar.update(line, advance=1, note=f"utility {entry['utility']:.4f}" if judge else "")
    if judge is not None:
        model.load_state_dict(best)
    model.eval()
    return Run(state.curves, state.best_epoch)


def _epoch(
    model: Model,
    tasks: Sequence[Task],
    balance: Balance,
    optimizer: optim.Optimizer,
    data: Prepared,
    training: Training,
    epoch: int,
) -> dict[str, float]:
    """Pass once over the rows; return each task's mean loss over its observed rows, seen as the weights moved."""
    model.train()
    torch.manual_seed(training.seed * 100_003 + epoch)
    steps_an_epoch = -(-data.rows // training.batch_size)
    sums = {task.name: torch.zeros(2) for task in tasks}
    for step, batch in enumerate(data.batches(training.batch_size, torch.randperm(data.rows))):
        done = (epoch - 1) * steps_an_epoch + step
        share = step_size(done, training.epochs * steps_an_epoch, training.schedule, training.warmup)
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * share
        losses = _losses(model(batch), tasks, batch, sums)
        if not losses:
            continue
        optimizer.zero_grad(set_to_none=True)
        balance(losses).backward()
        if training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), training.gradient_clip)
        optimizer.step()
    return {f"{name}.loss": float(total[0] / total[1]) for name, total in sums.items() if total[1] > 0}


def _losses(raw: Mapping[str, Tensor], tasks: Sequence[Task], batch: Batch, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean loss over observed rows of each task that has one in this batch, and add it to the running sums."""
    losses = {}
    for task in tasks:
        mask_B = batch.masks[task.name]
        observed = int(mask_B.sum())
        if observed == 0:
            continue
        loss_B = task.loss(raw[task.name], batch.targets[task.name])
        losses[task.name] = torch.where(mask_B, loss_B, 0.0).sum() / observed
        sums[task.name].add_(torch.tensor([float(losses[task.name].detach()) * observed, observed]))
    return losses


def _undefined(entry: Mapping[str, float]) -> UserError:
    undefined = [name for name, value in entry.items() if math.isnan(value) and name != "utility"]
    remedy = "Give validation rows whose labels differ (for gauc: within a user), another utility, or a smaller learning_rate."
    found = f"NaN ({', '.join(undefined) or 'a task without such labels'})"
    return UserError("the utility on validation", expected="a number", found=found, remedy=remedy)


def _is_stale(state: checkpoint.Progress, training: Training) -> bool:
    waited = len(state.curves) - state.best_epoch
    return training.patience is not None and state.best_epoch > 0 and waited >= training.patience


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _bar(shown: bool) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs")]
    times = [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")]
    return Progress(*columns, *times, console=Console(file=sys.stderr), disable=not shown)
