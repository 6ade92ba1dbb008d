"""The optimisers by name, gradient clipping and the learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn, optim

from polyrec.declaration.training import ScheduleName, Training
from polyrec.features.feature import Rates
from polyrec.train.quick_adam import QuickAdam
from polyrec.train.row_adagrad import RowAdagrad
from polyrec.train.row_adam import RowAdam
from polyrec.train.row_wise_adagrad import RowWiseAdagrad


def build_optimizers(
    weights: Iterable[nn.Parameter],
    tables: Sequence[nn.Parameter],
    free: Iterable[nn.Parameter],
    training: Training,
    rates: Rates | None = None,
) -> list[optim.Optimizer]:
    """Return the optimiser named by the training settings, and a second one if tables are updated by rows.

    Fused kernels are used if torch has them. The `free` parameters, those of the balance, have no weight decay. `rates` lists
    parameters with a separate peak learning rate, stored as `highest` in their parameter group.
    """
    rate, decay, fused = training.learning_rate, training.weight_decay, True
    is_table = {id(table) for table in tables} if training.updates_rows else set()
    separate = is_table.union(id(weight) for _, group in rates or () for weight in group)
    groups: list[dict[str, Any]] = [{"params": [weight for weight in weights if id(weight) not in separate]}]
    groups += [{"params": group, "lr": highest, "highest": highest} for highest, group in rates or ()]
    groups += [{"params": group, "weight_decay": 0.0} for group in [list(free)] if group]
    optimizers: list[optim.Optimizer] = []
    match training.optimizer:
        case "sgd":
            optimizers.append(optim.SGD(groups, rate, weight_decay=decay, momentum=training.momentum, fused=fused))
        case "adam":
            optimizers.append(QuickAdam(groups, rate, decay, decoupled=False))
        case "adamw":
            optimizers.append(QuickAdam(groups, rate, decay, decoupled=True))
        case "rmsprop":
            optimizers.append(optim.RMSprop(groups, rate, weight_decay=decay, momentum=training.momentum))
        case "adagrad":
            optimizers.append(optim.Adagrad(groups, rate, weight_decay=decay, fused=fused))
    if is_table:
        optimizers.append(_for_rows(tables, training))
    return optimizers


def _for_rows(tables: Sequence[nn.Parameter], training: Training) -> optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    if training.tables == "row_wise_adagrad":
        return RowWiseAdagrad(tables, training.table_learning_rate, weight_decay=decay)
    match training.optimizer:
        case "sgd":
            return optim.SGD(tables, rate)
        case "adagrad":
            return RowAdagrad(tables, rate)
        case _:
            return RowAdam(tables, rate, weight_decay=decay, drift=True)


def clip_gradients(parameters: Iterable[nn.Parameter], longest: float) -> None:
    """Scale all gradients, dense and sparse, so that their joint norm is at most `longest`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    values = []
    for gradient in gradients:
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            values.append(gradient.values().norm())
        else:
            values.append(gradient.norm())
    if not values:
        return
    share = (longest / (torch.stack(values).norm() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(share)


def step_size(step: int, steps: int, schedule: ScheduleName, warmup: float) -> float:
    """Return the factor on the peak learning rate at a step, 0 to `steps` - 1.

    Over the first `warmup * steps` steps it rises linearly to 1. Then it stays at 1 (`constant`), falls linearly (`linear`), or
    follows half a cosine (`cosine`; Loshchilov and Hutter, 2017); the latter two reach 0 after the last step.
    """
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    passed = (step - warmup_steps) / max(steps - warmup_steps, 1)
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - passed
        case "cosine":
            return (1 + math.cos(math.pi * passed)) / 2
