"""The training loop.

A run is a function of its seed: every epoch seeds the order of its rows and its dropout. A training resumed after any epoch
therefore ends with the same weights as an uninterrupted one.
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
from polyrec.declaration.training import Training
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.train import checkpoint
from polyrec.train.allocation import kept_memory
from polyrec.train.products import fastest_products
from polyrec.train.ranks import Ranks
from polyrec.train.step import Step

Judging = Callable[[Model], Mapping[str, float]]
"""Computes validation metrics by `task.metric`, and the `utility`."""


OnEpoch = Callable[[int, Mapping[str, float]], None]
"""Receives the number of each epoch and its entry of the curves; an exception that it raises ends the training."""


@dataclass(frozen=True)
class Run:
    """Result of a training besides the weights."""

    curves: list[dict[str, float]]
    """One entry per epoch: `task.loss` over the training rows, and the metrics that the judge returned."""
    best_epoch: int
    """Epoch of the model's weights, counted from 1."""


def train(
    model: Model,
    objective: Objective,
    balance: Balance,
    data: Prepared,
    training: Training,
    judge: Judging | None,
    *,
    fingerprint: str = "",
    checkpoint_folder: Path | None = None,
    resume: bool = False,
    stop_after: int | None = None,
    on_epoch: OnEpoch | None = None,
    title: str = "training",
    progress: bool = True,
) -> Run:
    """Train a model in place; it ends with the weights of the best epoch (of the last one without a judge).

    With a `checkpoint_folder` the state is written there after every epoch; with `resume` training continues from the
    checkpoint in that folder, if there is one. `stop_after` is the number of epochs after which training ends; the learning
    rate schedule still spans `training.epochs`. If a process group of `torch.distributed` is initialised, each process trains
    on its share of every batch and rank 0 writes checkpoints.
    """
    ranks = Ranks()
    fully_observed = all(bool(data.masks[task.name].all()) and not task.relates_rows for task in objective.tasks)
    step = Step(model, objective, balance, training, ranks, fully_observed)
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
    """Train on the rows of an epoch, or on those that a checkpoint left; return each task's mean loss over the epoch.

    The losses are those of the training steps, computed before each update.
    """
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
    step.catch_up()
    losses = step.mean_losses()
    step.balance.end_epoch(losses)
    return {f"{name}.loss": loss for name, loss in losses.items()} | step.probed()


def _undefined(entry: Mapping[str, float]) -> UserError:
    undefined = [name for name, value in entry.items() if math.isnan(value) and name != "utility"]
    remedy = "Use validation rows with different labels (for gauc: within a user), another utility or a smaller learning_rate."
    found = f"NaN ({', '.join(undefined) or 'a task without validation labels'})"
    return UserError("the utility on validation", expected="a number", found=found, remedy=remedy)


def _is_stale(state: checkpoint.Progress, training: Training) -> bool:
    epochs_since_best = len(state.curves) - state.best_epoch
    return training.patience is not None and state.best_epoch > 0 and epochs_since_best >= training.patience


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
