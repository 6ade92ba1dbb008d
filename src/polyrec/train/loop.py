"""The training loop.

A run is a function of its seed: every epoch seeds its own order of rows and its dropout, so that a training resumed after any
epoch ends with the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from polyrec.balancing.balancer import Balance
from polyrec.core.errors import UserError
from polyrec.core.progress import progress_bar
from polyrec.data.prepared import Prepared
from polyrec.model import Model
from polyrec.objective import Objective
from polyrec.train import checkpoint
from polyrec.train.allocation import kept_memory
from polyrec.train.products import fastest_products
from polyrec.train.ranks import Ranks
from polyrec.train.step import Step
from polyrec.train.training import Training

Judge = Callable[[Model], Mapping[str, float]]
"""Returns validation metrics by `task.metric`, with the `utility` among them."""


OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Is told the number of each epoch and its entry of the curves; what it raises ends the training."""


@dataclass(frozen=True)
class Run:
    """What a training leaves behind besides the weights."""

    curves: list[dict[str, float]]
    """One entry an epoch: `task.loss` over the training rows and what the judge returned."""
    best_epoch: int
    """Epoch whose weights the model holds, counted from 1."""


def train(
    model: Model,
    objective: Objective,
    balance: Balance,
    data: Prepared,
    training: Training,
    judge: Judge | None,
    *,
    fingerprint: str = "",
    checkpoint_folder: Path | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    on_epoch: OnEpoch | None = None,
    title: str = "training",
    progress: bool = True,
) -> Run:
    """Train a model in place and leave in it the weights of the best epoch (of the last, without a judge).

    With a `checkpoint_folder` the state is written there after every epoch; with `resume` training goes on from what the
    folder holds, if anything. `stop_after` ends the training early on the schedule of the whole budget. Where a process
    group of `torch.distributed` is open, each process trains on its share of every batch and the first one writes.
    """
    ranks = Ranks()
    whole = all(bool(data.masks[task.name].all()) and not task.relates_rows for task in objective.tasks)
    step = Step(model, objective, balance, training, ranks, whole)
    balance.start(objective.constants(data.targets, data.masks))
    state = checkpoint.Progress(fingerprint, [])
    best: dict[str, Tensor] | None = None
    writes = checkpoint_folder is not None and ranks.rank == 0

    def save() -> None:
        if writes:
            assert checkpoint_folder is not None
            checkpoint.save_checkpoint(checkpoint_folder, model, balance, step, best, state)

    if resume and checkpoint_folder is not None and checkpoint_folder.exists():
        best, state = checkpoint.load_checkpoint(checkpoint_folder, model, balance, step, fingerprint)
    last, is_hidden = min(training.epochs, stop_after or training.epochs), not progress or ranks.rank > 0
    with (
        torch.random.fork_rng(devices=[]),
        fastest_products(step.size),
        kept_memory(),
        progress_bar(title, last, completed=len(state.curves), unit="epochs", disable=is_hidden) as bar,
    ):
        while len(state.curves) < last and not _is_stale(state, training):
            epoch = len(state.curves) + 1
            entry = _epoch(step, data, training, epoch, state, save)
            if judge is None:
                state.best_epoch = epoch
            else:
                model.eval()
                entry |= judge(model)
                if state.best_epoch == 0 and math.isnan(entry["utility"]):
                    raise _undefined(entry)
                if entry["utility"] > state.best_utility:
                    state.best_epoch, state.best_utility = epoch, entry["utility"]
                    best = None if epoch == last and not writes else _copy(model)
            state.curves.append(entry)
            save()
            if on_epoch is not None:
                on_epoch(epoch, entry)
            bar.advance(note=f"utility {entry['utility']:.4f}" if judge else "")
    if best is not None:
        model.load_state_dict(best)
    model.eval()
    return Run(state.curves, state.best_epoch)


def _epoch(
    step: Step, data: Prepared, training: Training, epoch: int, state: checkpoint.Progress, save: Callable[[], None]
) -> dict[str, float]:
    """Pass over the rows, or those still to come; return each task's mean loss over the epoch, seen as the weights moved."""
    step.model.train()
    torch.manual_seed(training.seed * 100_003 + epoch)
    steps = -(-data.rows // training.batch_size)
    batches = enumerate(data.epoch(training.batch_size, skip=state.steps), state.steps)
    if state.steps == 0:
        step.begin()
    else:
        torch.set_rng_state(step.random)
        step.gradients = state.probed
    for number, (part, rows_B) in batches:
        step(part, rows_B, (epoch - 1) * steps + number, training.epochs * steps, probe=number < training.probe)
        if training.checkpoint_every is not None and (number + 1) % training.checkpoint_every == 0 and number + 1 < steps:
            state.steps, state.probed, step.random = number + 1, step.gradients, torch.get_rng_state()
            save()
    state.steps = 0
    step.settle()
    losses = step.mean_losses()
    step.balance.end_epoch(losses)
    return {f"{name}.loss": loss for name, loss in losses.items()} | step.probed()


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
