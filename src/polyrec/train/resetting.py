"""Reset of an optimiser's state for embedding rows that were reassigned to other ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim

_BY_STEP = ("log_decay", "drift")
"""Entries of the state that have one value per step, not per row, whatever their length."""
_LAST = "last"
"""Entry of the state with the last step that reached each row."""


@torch.no_grad()
def reset_rows(optimizer: optim.Optimizer, parameter: nn.Parameter, rows: Tensor) -> None:
    """Reset the optimiser's state of some rows of a table to that of untouched rows, as after `StreamedEncoder.recycle`.

    Every tensor of the state with one entry or one vector per row is set to zero there: momentum, moments, sums of squares. If
    the optimiser records the last step that reached each row, in order to apply missed updates later, the rows are marked as
    up to date: new weights have missed no update.
    """
    state = optimizer.state.get(parameter, {})
    for name, value in state.items():
        if name == _LAST:
            value.index_fill_(0, rows, float(state["step"]))
        elif isinstance(value, Tensor) and value.dim() > 0 and len(value) == len(parameter) and name not in _BY_STEP:
            value.index_fill_(0, rows, 0)
