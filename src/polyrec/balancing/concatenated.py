"""Concatenated: the tasks' errors as one vector under one norm. Shape letters: P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class Concatenated(Balancer):
    """`L = ((1/T) sum_t e_t^power)^(1/power)` over the tasks present, e_t being the loss over that of the task's best constant.

    The power mean of one vector that holds all tasks' errors in one unit: power 1 is their mean, and the higher the power, the
    more the worst task decides (the global criterion; Marler and Arora, Structural and Multidisciplinary
    Optimization 2004). A task weighs `(e_t / L)^(power - 1) / (T c_t)`: the weights' sum is free. Errors are divided by the
    largest before they are raised, so that no power overflows.
    """

    examples = ({}, {"power": 1.0}, {"power": 8.0})

    power: float = Field(default=2.0, ge=1)
    """Order of the norm: 1 for the mean of the errors, high for the worst."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return ConcatenatedBalance(tasks, self.power)


class ConcatenatedBalance(Balance):
    """The norm of all errors; it learns nothing."""

    def __init__(self, tasks: Sequence[str], power: float) -> None:
        super().__init__(tasks)
        self.power = power

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        error_P = (self.stacked(losses) / self.constants_T[self.present(losses)]).clamp_min(1e-12)
        largest = error_P.detach().max()
        return largest * (error_P / largest).pow(self.power).mean().pow(1 / self.power)
