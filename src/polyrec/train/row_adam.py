"""Adam on the rows that a gradient reaches.

Shape letters: U distinct rows reached, R rows of the table, W width, T steps, N steps until momentum has faded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polyrec.train.row_optimizer import RowOptimizer, series

FADED = 1e-9
"""Fraction of a row's first drift below which later drift is neglected."""


class RowAdam(RowOptimizer):
    """Adam (Kingma and Ba, ICLR 2015), or AdamW with weight decay, that reads and writes only the rows that a gradient reaches.

    If a gradient reaches a row at step t and last did so at step s, its moments decay as in t - s steps of dense Adam, all but
    the last without a gradient: `m = beta1^(t-s) m + (1-beta1) g` and `v = beta2^(t-s) v + (1-beta2) g^2`. After the weight
    decay of all t - s steps, `w = w - lr_t m' / (sqrt(v') + eps)` with `m' = m / (1-beta1^t)` and `v' = v / (1-beta2^t)`. After
    `catch_up`, the moments equal those of dense Adam for any sequence of rows; so do the weights if `beta1 = 0` or if every
    step reaches every row.

    With `beta1 > 0` dense Adam also moves a row by its momentum in steps without a gradient. Without `drift`, a rare row
    therefore moves by only about `(1-beta1)` of the distance that dense Adam moves it. Set `drift` to apply these moves when a
    gradient next reaches the row: with `q = beta1 / sqrt(beta2)` they add up to `m / sqrt(v)` times
    `sum_(i>s) lr_i q^(i-s) sqrt(1-beta2^i) / (1-beta1^i)`. This factor depends only on s and is stored for every past step, so
    the sum is exact for any schedule, except for eps. By then the forward pass has read the row without these moves: the
    result equals dense Adam only if `catch_up(table, rows)` runs before rows are read, and is close to it otherwise.

    `torch.optim.SparseAdam` differs: its moments do not decay in steps without a gradient, so an old gradient of a rare row
    has the same weight as one of the previous step, and it has no weight decay.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        drift: bool = False,
    ) -> None:
        q = betas[0] / math.sqrt(betas[1])
        if drift and q >= 1:
            raise ValueError(f"drift without end: beta1^2 = {betas[0] ** 2} is not below beta2 = {betas[1]}. Lower beta1.")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        steps = math.ceil(math.log(FADED) / math.log(q)) if drift and q > 0 else 0
        self.fading_N = q ** torch.arange(steps, 0, -1, dtype=torch.float64)

    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        return {"exp_avg": torch.zeros_like(table), "exp_avg_sq": torch.zeros_like(table), "last": table.new_zeros(len(table))}

    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        step, (beta1, beta2) = state["step"], group["betas"]
        weight_UW, m_UW, v_UW = self._settled(table, state, group, rows_U)
        m_UW.add_(gradient_UW, alpha=1 - beta1)
        v_UW.addcmul_(gradient_UW, gradient_UW, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows_U, m_UW)
        state["exp_avg_sq"].index_copy_(0, rows_U, v_UW)
        root_UW = v_UW.sqrt_().mul_((1 - beta2**step) ** -0.5).add_(group["eps"])
        weight_UW.addcdiv_(m_UW, root_UW, value=-group["lr"] / (1 - beta1**step))
        table.index_copy_(0, rows_U, weight_UW)

    def _catch_up(self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor) -> None:
        weight_UW, m_UW, v_UW = self._settled(table, state, group, rows_U)
        state["exp_avg"].index_copy_(0, rows_U, m_UW)
        state["exp_avg_sq"].index_copy_(0, rows_U, v_UW)
        table.index_copy_(0, rows_U, weight_UW)

    def _settled(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights, first and second moments of rows after the drift and decay of the steps that they missed."""
        beta1, beta2 = group["betas"]
        weight_UW = table.index_select(0, rows_U)
        m_UW, v_UW = state["exp_avg"].index_select(0, rows_U), state["exp_avg_sq"].index_select(0, rows_U)
        last_U = state["last"].index_select(0, rows_U)
        if "drift" in state:
            drift_U1 = state["drift"].index_select(0, last_U.long()).to(table.dtype).unsqueeze(1)
            weight_UW.addcdiv_(m_UW * drift_U1, v_UW.sqrt().add_(group["eps"]), value=-1)
        since_U1 = (state["step"] - last_U).unsqueeze(1)
        factor_U1 = self._decay(state, rows_U)
        if factor_U1 is None:
            state["last"].index_fill_(0, rows_U, state["step"])
        else:
            weight_UW.mul_(factor_U1)
        return weight_UW, m_UW.mul_(torch.pow(beta1, since_U1)), v_UW.mul_(torch.pow(beta2, since_U1))

    def _end(self, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Add this step's drift, reduced by the weight decay until now, to the sum of each earlier step."""
        if not len(self.fading_N):
            return
        step, (beta1, beta2) = state["step"], group["betas"]
        drift_T = state["drift"] = series(state.get("drift"), step)
        since = max(0, step - len(self.fading_N))
        fading_N = self.fading_N[since - step :]
        if "log_decay" in state:
            sums_T = state["log_decay"]
            fading_N = fading_N * (sums_T[since:step] - sums_T[step]).exp_()
        drift_T[since:step].add_(fading_N, alpha=group["lr"] * math.sqrt(1 - beta2**step) / (1 - beta1**step))
