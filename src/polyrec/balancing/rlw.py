"""RLW: random weights at every step. Shape letters: P tasks present."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polyrec.balancing.balancer import Balance, Balancer, Gradients


class RLW(Balancer):
    """Random loss weighting (Lin et al., TMLR 2022): `w = softmax(z)` with z drawn from a standard normal at every step.

    The weights sum to 1. An adaptive method must beat this baseline to show that its adaptation matters. Unlike in other
    implementations, random numbers are assigned by task name: neither the order of declaration nor an absent task changes them.
    """

    examples = ({},)

    def build(self, tasks: Sequence[str]) -> Balance:
        return RandomBalance(tasks)


class RandomBalance(Balance):
    """Random weights from torch's seeded generator."""

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        loss_P, z_T = self.stacked(losses), torch.randn(len(self.tasks))[self.by_name]
        return (torch.softmax(z_T[self.present(losses)], 0).to(loss_P) * loss_P).sum()
