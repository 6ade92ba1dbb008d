"""Adagrad with one accumulator per row.

Shape letters: U distinct rows reached, R rows of the table, W width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polyrec.train.row_optimizer import RowOptimizer


class RowWiseAdagrad(RowOptimizer):
    """Adagrad (Duchi, Hazan and Singer, JMLR 2011) with one accumulator per row, on the rows that a gradient reaches.

    The accumulator adds the mean of the squared gradients over the width, `a = a + mean(g^2)`, and the row moves by
    `lr g / (sqrt(a) + eps)` (Mudigere et al., ISCA 2022). The state is one number per row, 1 / W of Adagrad's and 1 / 2W of
    Adam's. This is FBGEMM's `EXACT_ROWWISE_ADAGRAD` except for weight decay: FBGEMM has an L2 penalty or decays only the rows
    that a gradient reaches, while `weight_decay` here is decoupled and applies to every row and every step, with a delay.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1e-2, eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        return {"sum": table.new_zeros(len(table))}

    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        factor_U1 = self._decay(state, rows_U)
        sum_U = state["sum"].index_select(0, rows_U)
        sum_U.add_(torch.linalg.vecdot(gradient_UW, gradient_UW), alpha=1 / gradient_UW.shape[1])
        state["sum"].index_copy_(0, rows_U, sum_U)
        size_U1 = sum_U.sqrt_().add_(group["eps"]).reciprocal_().mul_(-group["lr"]).unsqueeze(1)
        if factor_U1 is None:
            table.index_add_(0, rows_U, gradient_UW * size_U1)
        else:
            table.index_copy_(0, rows_U, table.index_select(0, rows_U).mul_(factor_U1).addcmul_(gradient_UW, size_U1))
