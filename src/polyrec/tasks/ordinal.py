"""Ordinal: ordered grades. Shape letters: B rows, H width of a state, K grades, C = K - 1 thresholds."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from polyrec.layers.increasing import increasing, raw_of_increasing
from polyrec.tasks.head import Head, TowerHead
from polyrec.tasks.numbers import NumbersTask
from polyrec.tasks.task import State

_MOST_GRADES = 50

_LEAST_SHARE = 1e-7


class Ordinal(NumbersTask):
    """Ordered grades without a scale: stars, degrees of severity, degrees of agreement.

    Proportional odds: `P(y <= k) = sigmoid(b_k - s)` with one score s per row and thresholds `b_1 < b_2 < …` that all rows
    share (McCullagh, JRSS B 1980). The thresholds are learned. Each is a softplus above its predecessor, which guarantees their
    order; they are initialised to the shares of the training grades. Labels: numbers with 2 to 50 different values; the grades
    are those of the training labels, and other labels count as not observed. Output: the expected grade, in the label's units.
    Loss: `-log P(y)` in nats, computed as a sum of log-sigmoids. In contrast to the usual logarithm of a difference of two
    sigmoids, it needs no clamp, and its gradient does not vanish far from the label. State: `grade`, `share`.

    Raw outputs: `b_1 - s`, then the inverse softplus of each `b_k - b_{k-1}`.
    """

    examples = ({"name": "stars", "label": "rating"}, {"name": "grade", "label": "grade", "tower": [16], "inputs": "item"})
    metrics = ("rmse", "mae", "quadratic_kappa")

    def fit(self, labels: pl.Series) -> State:
        grades = self.finite(labels).alias("grade").value_counts(name="rows").sort("grade")
        if not 2 <= len(grades) <= _MOST_GRADES:
            remedy = "Round the label, use Regression for a quantity, or drop the task."
            raise self.wrong_labels(f"2 to {_MOST_GRADES} different grades", f"{len(grades)}", remedy)
        return grades.select("grade", share=pl.col("rows") / pl.col("rows").sum())

    def outputs(self, state: State) -> int:
        return len(state) - 1

    def build(self, width: int, state: State) -> Head:
        return OrdinalHead(width, self.tower, self.dropout, _raw_of_shares(state["share"].to_torch()))

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        return self._numbers(labels, state).fill_null(0).to_torch().long()

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        return self._numbers(labels, state).is_not_null().to_torch()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        # With c_k = c_{k-1} + softplus(d_k): sigmoid(c_k) - sigmoid(c_{k-1}) = sigmoid(c_k) sigmoid(-c_{k-1}) sigmoid(d_k).
        c_BC = increasing(raw)
        none_B1 = torch.zeros_like(c_BC[:, :1])
        at_most_BK = torch.cat([functional.logsigmoid(c_BC), none_B1], 1)
        at_least_BK = torch.cat([none_B1, functional.logsigmoid(-c_BC)], 1)
        step_BC = none_B1 if raw.ndim == 1 else torch.cat([none_B1, functional.logsigmoid(raw[:, 1:])], 1)
        log_p_BK = at_most_BK + at_least_BK + torch.cat([step_BC, none_B1], 1)
        return -log_p_BK.gather(1, target[:, None]).squeeze(1)

    def predict(self, raw: Tensor, state: State) -> Tensor:
        grade_K = state["grade"].to_torch()
        return grade_K[0].float() + torch.sigmoid(-increasing(raw)) @ grade_K.diff().float()

    def truth(self, target: Tensor, state: State) -> Tensor:
        return state["grade"].to_torch().float()[target]

    def constant(self, targets: Tensor) -> Tensor:
        counts_K = torch.bincount(targets, minlength=2)
        return _raw_of_shares(counts_K.double() / counts_K.sum())

    def _numbers(self, labels: pl.Series, state: State) -> pl.Series:
        """Return the number of each label's grade; null for null and for a grade that is not among the training labels."""
        numbered = state.select("grade").with_row_index("number")
        grades = self.finite(labels).alias("grade").to_frame()
        return grades.join(numbered, on="grade", how="left", maintain_order="left")["number"]


class OrdinalHead(TowerHead):
    """A tower with one score per row, and thresholds that all rows share."""

    def __init__(self, width: int, tower: tuple[int, ...], dropout: float, start: Tensor) -> None:
        super().__init__(width, tower, 1, dropout)
        self.last = nn.Linear(self.tower.width, 1, bias=False)
        self.thresholds_C = nn.Parameter(start.flatten())
        self.outputs = len(self.thresholds_C)

    def output(self, state_BH: Tensor) -> Tensor:
        """Return the first threshold minus the score, and the raw steps to the other thresholds."""
        s_B1 = self.last(state_BH)
        raw_BC = torch.cat([self.thresholds_C[:1] - s_B1, self.thresholds_C[1:].expand(s_B1.shape[0], -1)], 1)
        return raw_BC.squeeze(1) if self.outputs == 1 else raw_BC


def _raw_of_shares(share_K: Tensor) -> Tensor:
    """Return the raw outputs that predict each grade with its share: the log-odds of the cumulative shares."""
    at_most_C = share_K.cumsum(0)[:-1].clamp(_LEAST_SHARE, 1 - _LEAST_SHARE)
    return raw_of_increasing(torch.logit(at_most_C)).float()
