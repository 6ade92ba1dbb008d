"""What the optimisers of tables have in common: only the rows that a step reaches are read and written.

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
"""Rows in hand at a time: few enough that what is gathered is still in the processor's cache when it is written back."""


class RowOptimizer(optim.Optimizer):
    """An optimiser of tables of ids, (R, W) each, that reads and writes only the rows that the gradient reaches.

    What a dense optimiser does at every step to rows without a gradient is made good when a row is next reached, and for all
    rows by `catch_up`, which belongs before weights are saved or judged. Weight decay is decoupled (Loshchilov and Hutter, ICLR
    2019): step t multiplies every weight by 1 - lr_t * weight_decay. A running sum of the logarithms of these factors gives the
    product over the steps that a row missed, exact also while the step size changes. A table without a gradient is passed over
    and its steps do not count, as in torch. The state is exact to 2^24 steps.
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

    step.hooked = True  # type: ignore[attr-defined]  # torch then leaves it without its profiling hooks

    @torch.no_grad()
    def catch_up(self, table: nn.Parameter | None = None, rows: Tensor | None = None) -> None:
        """Bring rows (else all) of a table (else every one) to where they would stand had each step reached them with no
        gradient. Repeated rows are caught up once."""
        for group in self.param_groups:
            for own in group["params"]:
                state = self.state.get(own, {})
                if (table is None or own is table) and "last" in state:
                    every_U = torch.arange(len(own), device=own.device) if rows is None else distinct_rows(rows)
                    behind_U = every_U[state["last"].index_select(0, every_U) < state["step"]]
                    for rows_U in behind_U.split(CHUNK):
                        self._catch_up(own, state, group, rows_U)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state as it is; torch alone would round running sums to the format of the weights."""
        super().load_state_dict(state_dict)
        tables = [table for group in self.param_groups for table in group["params"]]
        for index, own in state_dict["state"].items():
            kept = {name: value.clone() if isinstance(value, Tensor) else value for name, value in own.items()}
            self.state[tables[index]] = kept | {"step": int(own["step"])}

    @abstractmethod
    def _first_state(self, table: nn.Parameter) -> dict[str, Any]:
        """Return the state of a table before its first step."""

    @abstractmethod
    def _update(
        self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor, gradient_UW: Tensor
    ) -> None:
        """Take the step on some of the rows reached."""

    def _catch_up(self, table: nn.Parameter, state: dict[str, Any], group: dict[str, Any], rows_U: Tensor) -> None:
        """Make good for rows what they missed up to the step last taken."""
        factor_U1 = self._decay(state, rows_U)
        if factor_U1 is not None:
            table.index_copy_(0, rows_U, table.index_select(0, rows_U).mul_(factor_U1))

    def _begin(self, table: nn.Parameter, group: dict[str, Any]) -> dict[str, Any]:
        """Count the step and its weight decay; return the state."""
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
        """Note what the step just taken means to the rows that it did not reach; here nothing."""

    def _decay(self, state: dict[str, Any], rows_U: Tensor) -> Tensor | None:
        """Return the factors (U, 1) of weight decay since rows were last reached, and note the step; None without decay."""
        if "log_decay" not in state:
            return None
        sums_T, last_R = state["log_decay"], state["last"]
        since_U = sums_T[state["step"]] - sums_T.index_select(0, last_R.index_select(0, rows_U).long())
        last_R.index_fill_(0, rows_U, state["step"])
        return since_U.exp_().to(last_R.dtype).unsqueeze(1)


def series(values_T: Tensor | None, step: int) -> Tensor:
    """Return values by step, zero where none is known yet, with room for a step."""
    if values_T is None:
        return torch.zeros(max(1024, 2 * step), dtype=torch.float64)
    return values_T if step < len(values_T) else torch.cat([values_T, torch.zeros_like(values_T)])
