"""Multiply: product of powers of predictions. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from polyrec.fusion.fusion import double
from polyrec.fusion.weighted import SummedFusion

_SMALLEST = 1e-9


class Multiply(SummedFusion):
    """`s = prod_t max(p_t, 1e-9)^(a_t)`: the usual fusion of probabilities in industrial rankers, since ratios have no unit.

    Predictions below 1e-9, such as those of a negative regression, are replaced by 1e-9. A negative power demotes.
    """

    examples = ({}, {"powers": {"like": 1.0, "stars": 0.5}})
    parts_field: ClassVar[str] = "powers"

    powers: dict[str, float] = {}
    """Power of each task. If empty, every task with one number per row has the power 1; else tasks not named are ignored."""

    def combined(self, weights: Mapping[str, float | Tensor], predictions: Mapping[str, Tensor]) -> Tensor:
        logs = [power * self.term(predictions[task]) for task, power in weights.items()]
        return torch.exp(sum(logs[1:], start=logs[0]))

    def term(self, prediction_B: Tensor) -> Tensor:
        return double(prediction_B).clamp(min=_SMALLEST).log()
