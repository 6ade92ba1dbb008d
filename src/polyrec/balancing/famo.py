"""FAMO: weights adapted to how much each loss fell at the last step. Shape letters: T tasks, P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class FAMO(Balancer):
    """Fast adaptive multitask optimization (Liu et al., NeurIPS 2023): decrease all log losses at the same rate.

    `w_t ~ softmax(xi)_t / L_t` with sum 1. After a step, Adam updates xi (as in the authors' code) with the gradient `J' (log
    L(before) - log L(after)) + decay * xi`, where J is the Jacobian of the softmax and both losses are of the same batch. The
    cost is one forward pass per step, without per-task gradients. Losses are clipped from below at a thousandth of the loss of
    the task's best constant, so that a memorised task does not take all the weight. The state of an absent task does not
    change.
    """

    examples = ({}, {"learning_rate": 0.1, "decay": 0.01})

    learning_rate: float = Field(default=0.025, gt=0)
    """Learning rate of the logits xi."""
    decay: float = Field(default=0.001, ge=0)
    """Weight decay of the logits, towards equal weights (gamma in the paper)."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return FAMOBalance(tasks, self.learning_rate, self.decay)


class FAMOBalance(Balance):
    """Logits of the tasks, and the two moments and step counts of Adam."""

    looks_back = True
    logits_T: Tensor
    first_T: Tensor
    second_T: Tensor
    steps_T: Tensor

    def __init__(self, tasks: Sequence[str], learning_rate: float, decay: float) -> None:
        super().__init__(tasks)
        self.learning_rate, self.decay = learning_rate, decay
        for name in ("logits_T", "first_T", "second_T", "steps_T"):
            self.register_buffer(name, torch.zeros(len(self.tasks)))
        self.before: dict[str, Tensor] = {}

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        self.before = {task: loss.detach() for task, loss in losses.items()}
        share_P = torch.softmax(self.logits_T[self.present(losses)], 0) / self._log_losses(losses).exp()
        return (share_P / share_P.sum() * self.stacked(losses)).sum()

    @torch.no_grad()
    def look_back(self, losses: Mapping[str, Tensor]) -> None:
        at = self.present(losses)
        z_P, fall_P = torch.softmax(self.logits_T[at], 0), self._log_losses(self.before) - self._log_losses(losses)
        slope_P = z_P * (fall_P - z_P @ fall_P) + self.decay * self.logits_T[at]
        self.steps_T[at] += 1
        self.first_T[at] += 0.1 * (slope_P - self.first_T[at])
        self.second_T[at] += 0.001 * (slope_P.square() - self.second_T[at])
        first_P = self.first_T[at] / (1 - 0.9 ** self.steps_T[at])
        second_P = self.second_T[at] / (1 - 0.999 ** self.steps_T[at])
        self.logits_T[at] -= self.learning_rate * first_P / (second_P.sqrt() + 1e-8)

    def _log_losses(self, losses: Mapping[str, Tensor]) -> Tensor:
        return self.stacked(losses).detach().maximum(1e-3 * self.constants_T[self.present(losses)]).log()
