"""The optimisers by name, and the step size over time."""

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
    """Return the optimiser that a training asks for, fused where torch has it so, and one for tables updated by rows.

    The `free` parameters, those of the balance, have no weight decay. `rates` names weights with a highest step size of their
    own, which their group holds as `highest`.
    """
    rate, decay, fused = training.learning_rate, training.weight_decay, True
    is_table = {id(table) for table in tables} if training.updates_rows else set()
    apart = is_table.union(id(weight) for _, own in rates or () for weight in own)
    groups: list[dict[str, Any]] = [{"params": [weight for weight in weights if id(weight) not in apart]}]
    groups += [{"params": own, "lr": highest, "highest": highest} for highest, own in rates or ()]
    groups += [{"params": own, "weight_decay": 0.0} for own in [list(free)] if own]
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
    """Scale all gradients, dense and sparse, so that their norm together is at most `longest`."""
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
    """Return the share of the highest step size at a step, 0 to `steps` - 1.

    Over the first `warmup * steps` steps it rises linearly to 1. Then it stays (`constant`), falls linearly, or follows half a
    cosine (Loshchilov and Hutter, 2017), reaching 0 after the last step.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    passed = (step - rising) / max(steps - rising, 1)
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - passed
        case "cosine":
            return (1 + math.cos(math.pi * passed)) / 2
