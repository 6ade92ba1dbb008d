"""Multiply: a product of powers of predictions. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from polyrec.fusion.fusion import double
from polyrec.fusion.weighted import SummedFusion

_SMALLEST = 1e-9


class Multiply(SummedFusion):
    """`s = prod_t max(p_t, 1e-9)^(a_t)`: what industrial rankers use for probabilities, since a ratio has no unit.

    Predictions below 1e-9, such as a negative regression, count as 1e-9. A negative power ranks down.
    """

    examples = ({}, {"powers": {"like": 1.0, "stars": 0.5}})
    parts_field: ClassVar[str] = "powers"

    powers: dict[str, float] = {}
    """Power of each task; empty, every task with one number a row has power 1, and tasks not named do not count."""

    def combined(self, weights: Mapping[str, float | Tensor], predictions: Mapping[str, Tensor]) -> Tensor:
        logs = [power * self.term(predictions[task]) for task, power in weights.items()]
        return torch.exp(sum(logs[1:], start=logs[0]))

    def term(self, prediction_B: Tensor) -> Tensor:
        return double(prediction_B).clamp(min=_SMALLEST).log()
