"""Weights from the inner products of the tasks' gradients. Shape letters: T tasks, P tasks present, H tasks heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from polyrec.balancing.balancer import Balance, Gradients


class GramianBalance(Balance):
    """Base of the balances `sum_t w_t L_t` whose weights are a function of the Gramian of the present tasks.

    The weights hold for all of a task's path, its tower too, which a negative weight would train uphill: they are never below
    zero. A task whose gradient is zero, as at a tower that starts at zero, is not heard: it keeps the weight that
    it would have among equals.
    """

    averages: ClassVar[bool]
    """Whether weights among equals are 1 / T, as in a mean of gradients, or 1, as in their sum."""

    def weigh(self, gramian_HH: np.ndarray, heard: list[int]) -> np.ndarray:
        """Return the weights (H,) of the tasks at these positions, none of whose gradients is zero."""
        raise NotImplementedError

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        present, loss_P = self.present(losses), self.stacked(losses)
        gramian_PP = gradients.gramian([self.tasks[position] for position in present]).detach().cpu().double().numpy()
        heard_P = (np.diagonal(gramian_PP) > 0) & np.isfinite(gramian_PP).all()
        share = 1 / len(present) if self.averages else 1.0
        weight_P = np.full(len(present), share)
        if heard_P.any():
            heard = [position for position, is_heard in zip(present, heard_P, strict=True) if is_heard]
            weight_H = self.weigh(gramian_PP[np.ix_(heard_P, heard_P)], heard)
            weight_P[heard_P] = weight_H * share * (len(heard) if self.averages else 1)
        return (torch.from_numpy(weight_P).to(loss_P) * loss_P).sum()
