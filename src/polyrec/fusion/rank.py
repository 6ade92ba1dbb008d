"""Rank: weighted sum of ranks within the request. Shape letters: B rows, R requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.fusion.fusion import State, double
from polyrec.fusion.weighted import WeightedFusion


class Rank(WeightedFusion):
    """`s = sum_t w_t u_t`, where `u_t = (#lower + #equal / 2) / n` is the fraction of the request's n rows that task t ranks
    below the row; ties, including the row itself, count half.

    A weighted Borda count (de Borda 1781; for lists of several rankers Dwork et al., WWW 2001), scaled to (0, 1) so that it
    does not depend on the length of the list. Only the order of a task's predictions matters, not their unit or spread:
    calibration and other increasing maps change nothing. Scores are comparable within a request only; among other candidates
    the same row has another score.
    """

    examples = ({}, {"weights": {"like": 1.0, "stars": 0.5}})
    compares_rows: ClassVar[bool] = True

    weights: dict[str, float] = {}
    """Weight of each task. If empty, every task with one number per row has the weight 1; else tasks not named are ignored."""

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        terms = [weight * share_below(double(predictions[task]), requests) for task, weight in self.named(predictions).items()]
        return sum(terms[1:], start=terms[0])

    def term(self, prediction_B: Tensor) -> Tensor:
        return share_below(double(prediction_B))


def share_below(values_B: Tensor, requests_B: Tensor | None = None) -> Tensor:
    """Return the fraction (B,) of the request's rows that each row exceeds; ties, including the row itself, count half."""
    rows = len(values_B)
    if rows == 0:
        return values_B
    requests_B = torch.zeros(rows, dtype=torch.long) if requests_B is None else requests_B
    first_B = torch.argsort(values_B, stable=True)
    order_B = first_B[torch.argsort(requests_B[first_B], stable=True)]
    request_B, value_B = requests_B[order_B], values_B[order_B]
    start_of_request_B = _starts(request_B[1:] != request_B[:-1], rows)
    start_of_tie_B = _starts((request_B[1:] != request_B[:-1]) | (value_B[1:] != value_B[:-1]), rows)
    _, request_of_B, size_R = torch.unique_consecutive(start_of_request_B, return_inverse=True, return_counts=True)
    _, tie_of_B, size_T = torch.unique_consecutive(start_of_tie_B, return_inverse=True, return_counts=True)
    below_B = start_of_tie_B - start_of_request_B + double(size_T[tie_of_B]) / 2
    share_B = torch.empty_like(values_B)
    share_B[order_B] = below_B / size_R[request_of_B]
    return share_B


def _starts(differs: Tensor, rows: int) -> Tensor:
    """Return the start of each row's run of equal rows, given which rows differ from the previous one."""
    is_first_B = torch.ones(rows, dtype=torch.bool)
    is_first_B[1:] = differs
    return torch.where(is_first_B, torch.arange(rows), 0).cummax(0).values
