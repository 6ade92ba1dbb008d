"""Adagrad on the rows that a gradient reaches.

Shape letters: U distinct rows reached, R rows of the table, W width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polyrec.train.row_optimizer import RowOptimizer


class RowAdagrad(RowOptimizer):
    """Adagrad (Duchi, Hazan and Singer, JMLR 2011) that reads and writes only the rows that a gradient reaches.

    Each weight has the sum of its squared gradients, `a = a + g^2`, and moves by `lr g / (sqrt(a) + eps)`. A weight without a
    gradient does not move, so the result equals dense Adagrad for any sequence of rows; with `weight_decay`, which is decoupled
    here, it does so after `catch_up`. `torch.optim.Adagrad` also accepts sparse gradients, but without weight decay, and it
    sorts and indexes the rows several times per step.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        return {"sum": torch.zeros_like(table)}

    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        factor_U1 = self._decay(state, rows_U)
        weight_UW, sum_UW = table.index_select(0, rows_U), state["sum"].index_select(0, rows_U)
        if factor_U1 is not None:
            weight_UW.mul_(factor_U1)
        state["sum"].index_copy_(0, rows_U, sum_UW.addcmul_(gradient_UW, gradient_UW))
        weight_UW.addcdiv_(gradient_UW, sum_UW.sqrt_().add_(group["eps"]), value=-group["lr"])
        table.index_copy_(0, rows_U, weight_UW)
