"""Regression: the expected value of a number. Shape letters: B rows."""

from __future__ import annotations

import polars as pl
from torch import Tensor

from polyrec.tasks.numbers import NumbersTask
from polyrec.tasks.task import State


class Regression(NumbersTask):
    """The expected value of a number: stars, seconds, a price.

    Labels: finite numbers. Output: a number y' in the label's units. Loss: squared error, which the mean minimises (Gneiting,
    JASA 2011), `((y - y') / s)^2`. Dividing by the standard deviation s of the training labels gives a task in seconds and a
    task in stars losses of similar size. State: `mean`, `scale`.
    """

    examples = ({"name": "stars", "label": "rating"}, {"name": "seconds", "label": "ln(1 + seconds)", "tower": [32, 16]})
    metrics = ("rmse", "mae", "r2")

    def fit(self, labels: pl.Series) -> State:
        numbers = self.finite(labels)
        deviation = numbers.std(ddof=0)
        assert isinstance(deviation, float)
        return pl.DataFrame({"mean": [numbers.mean()], "scale": [deviation or 1.0]})

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        scaled = (self.finite(labels) - state["mean"][0]) / state["scale"][0]
        return scaled.fill_null(0.0).to_torch().float()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return (raw - target).square()

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return raw * state["scale"][0] + state["mean"][0]

    def truth(self, target: Tensor, state: State) -> Tensor:
        return self.predict(target, state)

    def constant(self, targets: Tensor) -> Tensor:
        return targets.mean().reshape(1)
