"""Regression: a quantity. Shape letters: B rows."""

from __future__ import annotations

import polars as pl
from torch import Tensor

from polyrec.tasks.task import State, Task


class Regression(Task):
    """The expected value of a number: stars, seconds, a price.

    Labels: finite numbers. Output: a number in the label's units. Loss: squared error in units of the training labels'
    deviation, `((y - y') / s)^2`, so that a task in seconds and a task in stars weigh alike. State: `mean`, `scale`.
    """

    examples = ({"name": "stars", "label": "rating"}, {"name": "seconds", "label": "ln(1 + seconds)", "tower": [32, 16]})
    metrics = ("rmse", "mae", "r2")

    def fit(self, labels: pl.Series) -> State:
        numbers = self._finite(labels)
        deviation = numbers.std(ddof=0)
        assert isinstance(deviation, float)
        return pl.DataFrame({"mean": [numbers.mean()], "scale": [deviation or 1.0]})

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        scaled = (self._finite(labels) - state["mean"][0]) / state["scale"][0]
        return scaled.fill_null(0.0).to_torch().float()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return (raw - target).square()

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return raw * state["scale"][0] + state["mean"][0]

    def truth(self, target: Tensor, state: State) -> Tensor:
        return self.predict(target, state)

    def constant(self, targets: Tensor) -> Tensor:
        return targets.mean().reshape(1)

    def _finite(self, labels: pl.Series) -> pl.Series:
        if not (labels.dtype.is_numeric() or labels.dtype == pl.Boolean):
            raise self.wrong_labels("numbers", f"the type {labels.dtype}", "Cast the column, or use Multiclass for classes.")
        numbers = labels.cast(pl.Float64)
        bad = ~numbers.is_finite().fill_null(True)
        if bad.any():
            found = f"NaN or infinity in {bad.sum()} rows, first in row {bad.arg_max()}"
            raise self.wrong_labels("finite numbers or null", found, "Replace them by null: null means not observed.")
        return numbers
