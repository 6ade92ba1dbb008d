"""Concatenated: one norm of the vector of all task errors. Shape letters: P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class Concatenated(Balancer):
    """`L = ((1/T) sum_t e_t^power)^(1/power)` over the tasks present; e_t is the loss divided by that of the best constant.

    This is the power mean of all task errors in one unit. Power 1 is the arithmetic mean; the higher the power, the more the
    worst task dominates (the global criterion; Marler and Arora, Structural and Multidisciplinary Optimization 2004). A task
    has the weight `(e_t / L)^(power - 1) / (T c_t)`; the sum of the weights is not fixed. Errors are divided by the largest
    before exponentiation to avoid overflow.
    """

    examples = ({}, {"power": 1.0}, {"power": 8.0})

    power: float = Field(default=2.0, ge=1)
    """Order of the norm: 1 gives the mean of the errors; high values approach their maximum."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return ConcatenatedBalance(tasks, self.power)


class ConcatenatedBalance(Balance):
    """Norm of all errors, without learned state."""

    def __init__(self, tasks: Sequence[str], power: float) -> None:
        super().__init__(tasks)
        self.power = power

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        error_P = (self.stacked(losses) / self.constants_T[self.present(losses)]).clamp_min(1e-12)
        largest = error_P.detach().max()
        return largest * (error_P / largest).pow(self.power).mean().pow(1 / self.power)
