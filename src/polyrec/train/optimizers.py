"""The optimisers by name, and the step size over time."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn, optim

from polyrec.train.training import ScheduleName, Training


def build_optimizer(parameters: Iterable[nn.Parameter], training: Training) -> optim.Optimizer:
    """Return the torch optimiser that a training asks for, in its fused form where torch has one."""
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "sgd":
            return optim.SGD(parameters, rate, weight_decay=decay, momentum=training.momentum, fused=True)
        case "adam":
            return optim.Adam(parameters, rate, weight_decay=decay, fused=True)
        case "adamw":
            return optim.AdamW(parameters, rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return optim.RMSprop(parameters, rate, weight_decay=decay, momentum=training.momentum)
        case "adagrad":
            return optim.Adagrad(parameters, rate, weight_decay=decay, fused=True)


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
