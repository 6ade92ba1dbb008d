"""GradNorm: weights that equalise the norms of the task gradients. Shape letters: T tasks, P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class GradNorm(Balancer):
    """Weights follow the gradient of `sum_t |w_t n_t - m r_t^alpha|` with the target held constant (Chen et al., ICML 2018).

    n_t is the norm of the task's gradient with respect to the weights of the last shared layer (not an embedding), m is the
    mean of the `w_t n_t`, and r_t is `L_t / L_t(first batch)` divided by its mean over tasks: slowly learned tasks get larger
    gradients. The weights sum to the number of tasks. Norms are divided by their mean, so that `learning_rate` does not depend
    on the scale of the losses. The weight of an absent task does not change.
    """

    examples = ({}, {"alpha": 0.5, "learning_rate": 0.1})

    alpha: float = Field(default=1.5, ge=0)
    """Strength of the pull towards equal learning rates of all tasks; 0 only equalises the norms."""
    learning_rate: float = Field(default=0.025, gt=0)
    """Learning rate of the weights."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return GradNormBalance(tasks, self.alpha, self.learning_rate)


class GradNormBalance(Balance):
    """Weights, and the first observed loss of each task (0 before)."""

    weight_T: Tensor
    first_T: Tensor

    def __init__(self, tasks: Sequence[str], alpha: float, learning_rate: float) -> None:
        super().__init__(tasks)
        self.alpha, self.learning_rate = alpha, learning_rate
        self.register_buffer("weight_T", torch.ones(len(self.tasks)))
        self.register_buffer("first_T", torch.zeros(len(self.tasks)))

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        present, loss_P = self.present(losses), self.stacked(losses)
        weight_P, now_P = self.weight_T[present], loss_P.detach().clamp_min(1e-12)
        self.first_T[present] = torch.where(self.first_T[present] > 0, self.first_T[present], now_P)
        norm_P = gradients.norms([self.tasks[position] for position in present]).detach().to(weight_P)
        self.weight_T[present] = next_weights(weight_P, norm_P, now_P / self.first_T[present], self.alpha, self.learning_rate)
        return (weight_P * loss_P).sum()


def next_weights(weight_P: Tensor, norm_P: Tensor, ratio_P: Tensor, alpha: float, learning_rate: float) -> Tensor:
    """Return the weights after one step, with the same sum, given each task's gradient norm and loss relative to its first."""
    unit_P = norm_P / norm_P.mean().clamp_min(1e-30)
    weighted_P = weight_P * unit_P
    goal_P = weighted_P.mean() * (ratio_P / ratio_P.mean()) ** alpha
    stepped_P = (weight_P - learning_rate * unit_P * (weighted_P - goal_P).sign()).clamp_min(1e-3)
    return stepped_P * weight_P.sum() / stepped_P.sum()
