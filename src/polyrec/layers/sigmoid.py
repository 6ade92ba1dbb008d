"""The logistic function, the same bits for a number wherever in a tensor it stands."""

from __future__ import annotations

import torch
from torch import Tensor


def sigmoid(raw: Tensor) -> Tensor:
    """Return `1 / (1 + exp(-raw))`; the last bits of `torch.sigmoid` depend on a number's place among the others."""
    return 1 / (1 + torch.exp(-raw))
