"""What the optimisers of tables have in common: only the rows that a step reached are updated.

Shape letters: U distinct rows reached, R rows of the table, W width, T steps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn, optim

from polyrec.train.row_gradients import coalesce_rows

CHUNK = 65_536
"""Rows that `catch_up` holds in memory at a time."""


class RowOptimizer(optim.Optimizer):
    """An optimiser of tables of ids, (R, W) each, that reads and writes only the rows that the gradient reaches.

    What a dense optimiser does at every step to rows without a gradient (weight decay, the decay of moments) is made good when
    the row is next reached, and for all rows by `catch_up`, which belongs before weights are saved or judged. Weight decay is
    decoupled (Loshchilov and Hutter, ICLR 2019): at step t all weights are multiplied by 1 - lr_t * weight_decay; for one row
    the factors of the steps missed are multiplied by way of running sums of their logarithms, so that it is exact while the
    step size changes. A parameter without a gradient is passed over and its steps do not count, as in torch.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step of every table that has a gradient, sparse or dense."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, self._begin(table, group), group, *coalesce_rows(table.grad))
        return loss

    @torch.no_grad()
    def catch_up(self, rows: Tensor | None = None) -> None:
        """Bring rows, else all rows, to where they would be had they been reached at every step, with no gradient.

        Rows apply to every table; repeated rows are caught up once.
        """
        for group in self.param_groups:
            for table in group["params"]:
                if state := self.state.get(table):
                    parts = torch.arange(len(table)).split(CHUNK) if rows is None else (rows.unique(),)
                    for rows_U in parts:
                        self._catch_up(table, state, group, rows_U)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state as it is: torch would round running sums to the format of the weights."""
        super().load_state_dict(state_dict)
        tables = [table for group in self.param_groups for table in group["params"]]
        for index, own in state_dict["state"].items():
            for name, value in own.items():
                self.state[tables[index]][name] = value.clone() if isinstance(value, Tensor) else value

    @abstractmethod
    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        """Return the state of a table before its first step."""

    @abstractmethod
    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        """Take the step on the rows reached."""

    def _catch_up(self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor) -> None:
        """Make good for rows what they missed up to and with the step last taken; here: weight decay."""
        factor_U1 = self._decay(state, rows_U)
        if factor_U1 is not None:
            table.index_copy_(0, rows_U, table.index_select(0, rows_U).mul_(factor_U1))

    def _begin(self, table: nn.Parameter, group: dict[str, Any]) -> dict[str, Any]:
        """Count the step and its weight decay; return the state."""
        state = self.state[table]
        if not state:
            state.update(self._first_state(table), step=0)
        step = state["step"] = int(state["step"]) + 1
        if group["weight_decay"] or "log_decay" in state:
            if "last" not in state:
                state["last"] = table.new_zeros(len(table))
            sums_T = grown(state.get("log_decay"), step)
            sums_T[step] = float(sums_T[step - 1]) + math.log1p(-group["lr"] * group["weight_decay"])
            state["log_decay"] = sums_T
        return state

    def _decay(self, state: dict[str, Any], rows_U: Tensor) -> Tensor | None:
        """Return the factors (U, 1) of weight decay since the rows were last reached, and remember the step; None without."""
        if "log_decay" not in state:
            return None
        sums_T, last_R, step = state["log_decay"], state["last"], state["step"]
        since_U = sums_T[int(step)] - sums_T.index_select(0, last_R.index_select(0, rows_U).long())
        last_R.index_fill_(0, rows_U, int(step))
        return since_U.exp_().to(last_R.dtype).unsqueeze(1)


def grown(values_T: Tensor | None, step: int) -> Tensor:
    """Return a series by step with room for one more; new room holds zero."""
    if values_T is None:
        return torch.zeros(max(1024, 2 * step), dtype=torch.float64)
    return values_T if step < len(values_T) else torch.cat([values_T, torch.zeros_like(values_T)])
