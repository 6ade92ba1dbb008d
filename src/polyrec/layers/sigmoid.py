"""Logistic function, bit for bit independent of an element's position in the tensor."""

from __future__ import annotations

import torch
from torch import Tensor


def sigmoid(raw: Tensor) -> Tensor:
    """Return `1 / (1 + exp(-raw))`; the last bits of `torch.sigmoid` depend on an element's position in the tensor."""
    return 1 / (1 + torch.exp(-raw))
