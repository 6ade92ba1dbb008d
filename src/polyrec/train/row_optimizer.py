"""Base class of the optimisers of embedding tables, which read and write only the rows that a gradient reaches.

Shape letters: U distinct rows reached, R rows of the table, W width, T steps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn, optim

from polyrec.train.row_gradients import coalesce_rows, distinct_rows

CHUNK = 4096
"""Rows per update: few enough that the gathered rows are still in the processor's cache when they are written back."""


class RowOptimizer(optim.Optimizer):
    """Optimiser of embedding tables, (R, W) each, that reads and writes only the rows that the gradient reaches.

    A dense optimiser also updates rows without a gradient at every step. Here these updates are applied when a gradient next
    reaches the row, or for all rows by `catch_up`, which must run before weights are saved or evaluated. Weight decay is
    decoupled (Loshchilov and Hutter, ICLR 2019): step t multiplies every weight by 1 - lr_t * weight_decay. A running sum of
    the logarithms of these factors gives the product over the steps that a row missed, which is exact for any learning rate
    schedule. As in torch, a table without a gradient is skipped and the step does not count for it. The state is exact up to
    2^24 steps.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every table that has a gradient, sparse or dense."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                state = self._begin(table, group)
                rows_U, gradient_UW = coalesce_rows(table.grad)
                if len(rows_U) <= CHUNK:
                    self._update(table, state, group, rows_U, gradient_UW)
                else:
                    for some_U, some_UW in zip(rows_U.split(CHUNK), gradient_UW.split(CHUNK), strict=True):
                        self._update(table, state, group, some_U, some_UW)
                self._end(state, group)
        return loss

    step.hooked = True  # type: ignore[attr-defined]  # keeps torch from adding its profiling hooks

    @torch.no_grad()
    def catch_up(self, table: nn.Parameter | None = None, rows: Tensor | None = None) -> None:
        """Apply pending updates to `rows` of `table`; by default, to all rows of all tables.

        Afterwards the rows are as if every step had updated them with a zero gradient. Repeated rows are updated once.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state.get(parameter, {})
                if (table is None or parameter is table) and "last" in state:
                    every_U = torch.arange(len(parameter), device=parameter.device) if rows is None else distinct_rows(rows)
                    behind_U = every_U[state["last"].index_select(0, every_U) < state["step"]]
                    for rows_U in behind_U.split(CHUNK):
                        self._catch_up(parameter, state, group, rows_U)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state without rounding; torch would cast running sums to the data type of the weights."""
        super().load_state_dict(state_dict)
        tables = [table for group in self.param_groups for table in group["params"]]
        for index, state in state_dict["state"].items():
            copies = {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}
            self.state[tables[index]] = copies | {"step": int(state["step"])}

    @abstractmethod
    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        """Return the state of a table before its first step."""

    @abstractmethod
    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        """Update some of the rows that the gradient reaches."""

    def _catch_up(self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor) -> None:
        """Apply to rows the updates that they missed up to the latest step."""
        factor_U1 = self._decay(state, rows_U)
        if factor_U1 is not None:
            table.index_copy_(0, rows_U, table.index_select(0, rows_U).mul_(factor_U1))

    def _begin(self, table: nn.Parameter, group: dict[str, Any]) -> dict[str, Any]:
        """Count the step, record its weight decay and return the state."""
        state = self.state[table]
        if not state:
            state.update(self._first_state(table), step=0)
        step = state["step"] = state["step"] + 1
        if group["weight_decay"] or "log_decay" in state:
            if "last" not in state:
                state["last"] = table.new_zeros(len(table))
            sums_T = state["log_decay"] = series(state.get("log_decay"), step)
            sums_T[step] = float(sums_T[step - 1]) + math.log1p(-group["lr"] * group["weight_decay"])
        return state

    def _end(self, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Record the effect of this step on rows without a gradient; here there is none."""

    def _decay(self, state: dict[str, Any], rows_U: Tensor) -> Tensor | None:
        """Return the weight decay (U, 1) that rows missed and mark them as up to date; None without weight decay."""
        if "log_decay" not in state:
            return None
        sums_T, last_R = state["log_decay"], state["last"]
        since_U = sums_T[state["step"]] - sums_T.index_select(0, last_R.index_select(0, rows_U).long())
        last_R.index_fill_(0, rows_U, state["step"])
        return since_U.exp_().to(last_R.dtype).unsqueeze(1)


def series(values_T: Tensor | None, step: int) -> Tensor:
    """Return values by step, extended by zeros so that index `step` exists."""
    if values_T is None:
        return torch.zeros(max(1024, 2 * step), dtype=torch.float64)
    return values_T if step < len(values_T) else torch.cat([values_T, torch.zeros_like(values_T)])
