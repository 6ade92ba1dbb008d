"""Rank: a weighted sum of places within the request. Shape letters: B rows, R requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.fusion.fusion import State, double
from polyrec.fusion.weighted import WeightedFusion


class Rank(WeightedFusion):
    """`s = sum_t w_t u_t`, where `u_t = (#lower + #equal / 2) / n` is the share of the n rows of the request that task t ranks
    below the row, ties half, the row itself among the equal ones.

    A weighted Borda count (de Borda 1781; for lists of several rankers Dwork et al., WWW 2001), scaled to (0, 1) so that it
    does not depend on the length of the list. Only the order of a task's predictions counts, neither their unit nor their
    spread: calibration and any other map that increases change nothing. A score holds within its request alone; the same
    row scores otherwise among other candidates.
    """

    examples = ({}, {"weights": {"like": 1.0, "stars": 0.5}})
    compares_rows: ClassVar[bool] = True

    weights: dict[str, float] = {}
    """Weight of each task; empty, every task with one number a row weighs 1, and tasks not named do not count."""

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
    """Return which share (B,) of the rows of its request each row stands above, ties half, itself among the ties."""
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
    """Return for each row where its run of equal rows begins, given which rows differ from the one before."""
    is_first_B = torch.ones(rows, dtype=torch.bool)
    is_first_B[1:] = differs
    return torch.where(is_first_B, torch.arange(rows), 0).cummax(0).values
