"""Forgetting what an optimiser knows of rows of a table that were given to other ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim

_BY_STEP = ("log_decay", "drift")
"""State by step, which a table of as many rows would be mistaken for."""
_LAST = "last"
"""State by row: the step that reached the row last."""


@torch.no_grad()
def reset_rows(optimizer: optim.Optimizer, parameter: nn.Parameter, rows: Tensor) -> None:
    """Set the optimiser's state of some rows of a table to that of rows never reached, as after `StreamedEncoder.recycle`.

    That is zero in every tensor of the state that has one entry, or one vector, for each row: momentum, moments, sums of
    squares. Where an optimiser notes the step that reached a row last, to make good later what the row missed since, the row
    is up to date: fresh weights have missed nothing.
    """
    state = optimizer.state.get(parameter, {})
    for name, value in state.items():
        if name == _LAST:
            value.index_fill_(0, rows, float(state["step"]))
        elif isinstance(value, Tensor) and value.dim() > 0 and len(value) == len(parameter) and name not in _BY_STEP:
            value.index_fill_(0, rows, 0)
