"""DWA: weights by how slowly each loss falls from epoch to epoch. Shape letters: T tasks, P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class DWA(Balancer):
    """Dynamic weight average (Liu et al., CVPR 2019): `w_t = T softmax_t(r_t / temperature)`.

    r_t is the task's mean loss of the last epoch over that of the one before: what falls slowly weighs more.
    The weights sum to the number of tasks present. They are 1 for the first two epochs, and a task without two epochs of
    labels counts as one whose loss stands still. What it remembers is part of the checkpoint.
    """

    examples = ({}, {"temperature": 0.5})

    temperature: float = Field(default=2.0, gt=0)
    """Evenness of the weights: the higher, the nearer they are to 1."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return DWABalance(tasks, self.temperature)


class DWABalance(Balance):
    """The mean losses of the last two epochs, 0 for an epoch that has not been."""

    last_T: Tensor
    before_T: Tensor

    def __init__(self, tasks: Sequence[str], temperature: float) -> None:
        super().__init__(tasks)
        self.temperature = temperature
        self.register_buffer("last_T", torch.zeros(len(self.tasks)))
        self.register_buffer("before_T", torch.zeros(len(self.tasks)))

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        present, loss_P = self.present(losses), self.stacked(losses)
        last_P, before_P = self.last_T[present], self.before_T[present]
        ratio_P = torch.where((last_P > 0) & (before_P > 0), last_P / before_P.clamp_min(1e-12), 1.0)
        return (len(present) * torch.softmax(ratio_P / self.temperature, 0) * loss_P).sum()

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        for position, task in enumerate(self.tasks):
            if task in losses:
                self.before_T[position] = self.last_T[position]
                self.last_T[position] = losses[task]
