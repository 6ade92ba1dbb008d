"""Add: weighted sum of predictions. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from polyrec.fusion.fusion import double
from polyrec.fusion.weighted import SummedFusion


class Add(SummedFusion):
    """`s = sum_t w_t p_t` over predictions in the units of their tasks (a probability; stars, seconds).

    A negative weight demotes items with a high prediction, such as of a complaint.
    """

    examples = ({}, {"weights": {"like": 1.0, "stars": 0.2}})

    weights: dict[str, float] = {}
    """Weight of each task. If empty, every task with one number per row has the weight 1; else tasks not named are ignored."""

    def combined(self, weights: Mapping[str, float | Tensor], predictions: Mapping[str, Tensor]) -> Tensor:
        terms = [weight * double(predictions[task]) for task, weight in weights.items()]
        return sum(terms[1:], start=terms[0])
