"""DWA: weights by how slowly each loss falls between epochs. Shape letters: T tasks, P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class DWA(Balancer):
    """Dynamic weight average (Liu et al., CVPR 2019): `w_t = T softmax_t(r_t / temperature)`.

    r_t is the ratio of the task's mean losses in the last two epochs (last / previous): a slowly falling loss gets a larger
    weight. The weights sum to the number of tasks present and are 1 in the first two epochs. A task without labels in two
    epochs has the ratio 1. The stored losses are part of the checkpoint.
    """

    examples = ({}, {"temperature": 0.5})

    temperature: float = Field(default=2.0, gt=0)
    """Temperature of the softmax: the higher, the closer the weights are to 1."""

    def build(self, tasks: Sequence[str]) -> Balance:
        return DWABalance(tasks, self.temperature)


class DWABalance(Balance):
    """Mean losses of the last two epochs; 0 for a missing epoch."""

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
