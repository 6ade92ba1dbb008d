"""Uncertainty: weights learned as the noise of each task. Shape letters: P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class Uncertainty(Balancer):
    """`L = sum_t exp(-s_t) L_t + s_t` with a learned log variance s_t for each task (Kendall et al., CVPR 2018).

    The minimum is at `s_t = log L_t`, where the weight of a task is the inverse of its loss. The weights start at 1; their sum
    is not fixed. The paper halves s_t and, for squared errors, the loss: at the minimum its weights are half of those here. A
    log variance, unlike a learned variance, cannot make a weight negative. The log variance of an absent task does not change.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return UncertaintyBalance(tasks)


class UncertaintyBalance(Balance):
    """One log variance per task, trained with the model's parameters."""

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.log_variance = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in self.tasks])

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        s_P = torch.stack([self.log_variance[position] for position in self.present(losses)])
        return ((-s_P).exp() * self.stacked(losses) + s_P).sum()
