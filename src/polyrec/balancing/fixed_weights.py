"""FixedWeights: weighted sum of the task losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients
from polyrec.core.errors import UserError, nearest


class FixedWeights(Balancer):
    """`L = sum_t w_t L_t`, where L_t is the mean loss over the rows with an observed label of t.

    Tuned fixed weights match or beat adaptive balancing in most published comparisons (Kurin et al., NeurIPS 2022; Xin et al.,
    NeurIPS 2022), so they are the default and the baseline. A task without a label in a batch adds nothing to that step.
    """

    examples = ({}, {"weights": {"like": 1.0, "stars": 0.5}})

    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each task; tasks that are not named have the weight 1."""

    def build(self, tasks: Sequence[str]) -> Balance:
        for name in self.weights:
            if name not in tasks:
                raise UserError(
                    f"weight of {name!r}", expected="a task's name", found="no such task", remedy=nearest(name, tasks)
                )
        return FixedBalance(tasks, {task: self.weights.get(task, 1.0) for task in tasks})


class FixedBalance(Balance):
    """Weighted sum, without learned state."""

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float]) -> None:
        super().__init__(tasks)
        self.weights = dict(weights)

    def known_weights(self) -> Mapping[str, float]:
        return self.weights

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        assert losses, "a batch without any label is skipped before balancing"
        return sum((self.weights[task] * loss for task, loss in losses.items()), start=next(iter(losses.values())) * 0)
