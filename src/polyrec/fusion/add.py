"""Add: a weighted sum of predictions. Shape letters: B rows."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from polyrec.fusion.fusion import double
from polyrec.fusion.weighted import SummedFusion


class Add(SummedFusion):
    """`s = sum_t w_t p_t` over the predictions in their own units (a probability; stars, seconds).

    A negative weight ranks down what the task predicts, such as a complaint.
    """

    examples = ({}, {"weights": {"like": 1.0, "stars": 0.2}})

    weights: dict[str, float] = {}
    """Weight of each task; empty, every task with one number a row weighs 1, and tasks not named do not count."""

    def combined(self, weights: Mapping[str, float | Tensor], predictions: Mapping[str, Tensor]) -> Tensor:
        terms = [weight * double(predictions[task]) for task, weight in weights.items()]
        return sum(terms[1:], start=terms[0])
