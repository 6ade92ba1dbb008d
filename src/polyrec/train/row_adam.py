"""Adam on the rows that a step reached.

Shape letters: U distinct rows reached, R rows of the table, W width, T steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polyrec.train.row_optimizer import RowOptimizer


class RowAdam(RowOptimizer):
    """Adam (Kingma and Ba, ICLR 2015) on the rows that the gradient reaches."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        drift: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        return {"exp_avg": torch.zeros_like(table), "exp_avg_sq": torch.zeros_like(table), "last": table.new_zeros(len(table))}

    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        step, (beta1, beta2), last_R = state["step"], group["betas"], state["last"]
        since_U1 = step - last_R.index_select(0, rows_U).unsqueeze(1)
        factor_U1 = self._decay(state, rows_U)
        last_R.index_fill_(0, rows_U, step)
        m_UW = state["exp_avg"].index_select(0, rows_U).mul_(beta1**since_U1).add_(gradient_UW, alpha=1 - beta1)
        v_UW = state["exp_avg_sq"].index_select(0, rows_U).mul_(beta2**since_U1)
        v_UW.addcmul_(gradient_UW, gradient_UW, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows_U, m_UW)
        state["exp_avg_sq"].index_copy_(0, rows_U, v_UW)
        size = group["lr"] / (1 - beta1**step)
        update_UW = m_UW.div_(v_UW.sqrt_().mul_((1 - beta2**step) ** -0.5).add_(group["eps"]))
        if factor_U1 is None:
            table.index_add_(0, rows_U, update_UW, alpha=-size)
        else:
            weight_UW = table.index_select(0, rows_U).mul_(factor_U1).add_(update_UW, alpha=-size)
            table.index_copy_(0, rows_U, weight_UW)
