"""Weights from inner products of task gradients. Shape letters: T tasks, P tasks present, A active tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from polyrec.balancing.balancer import Balance, Gradients


class GramianBalance(Balance):
    """Base of the balances `sum_t w_t L_t` whose weights are a function of the Gramian of the present tasks.

    The weights apply to all parameters of a task, including its tower, which a negative weight would train uphill: they are
    never negative. A task is active if its gradient is not zero (as it is at a tower that starts at zero). Inactive tasks get
    the weight of a uniform weighting.
    """

    averages: ClassVar[bool]
    """Whether uniform weights are 1 / T (mean of gradients) or 1 (sum of gradients)."""

    def weigh(self, gramian_AA: np.ndarray, active: list[int]) -> np.ndarray:
        """Return the weights (A,) of the tasks at these positions, all of which have nonzero gradients."""
        raise NotImplementedError

    def forward(self, losses: Mapping[str, Tensor], gradients: Gradients) -> Tensor:
        present, loss_P = self.present(losses), self.stacked(losses)
        gramian_PP = gradients.gramian([self.tasks[position] for position in present]).detach().cpu().double().numpy()
        is_active_P = (np.diagonal(gramian_PP) > 0) & np.isfinite(gramian_PP).all()
        share = 1 / len(present) if self.averages else 1.0
        weight_P = np.full(len(present), share)
        if is_active_P.any():
            active = [position for position, is_active in zip(present, is_active_P, strict=True) if is_active]
            weight_A = self.weigh(gramian_PP[np.ix_(is_active_P, is_active_P)], active)
            weight_P[is_active_P] = weight_A * share * (len(active) if self.averages else 1)
        return (torch.from_numpy(weight_P).to(loss_P) * loss_P).sum()
