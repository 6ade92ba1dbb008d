"""Quantile: several quantiles of a number. Shape letters: B rows, N rows of a table, Q levels."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import torch
from pydantic import Field, field_validator
from torch import Tensor

from polyrec.layers.increasing import increasing, raw_of_increasing
from polyrec.tasks.numbers import NumbersTask
from polyrec.tasks.task import State


class Quantile(NumbersTask):
    """Several quantiles of a number, such as the median and the ends of an 80 % interval.

    Labels: finite numbers. Output: a quantile per level, in the label's units, (B, Q). Loss: the pinball loss (Koenker and
    Bassett, Econometrica 1978), `max(p u, (p - 1) u)` with `u = (y - q_p) / s` for level p and the standard deviation s of the
    training labels, averaged over the levels. The quantiles of a row never cross, since each is a softplus above the next
    lower one; other implementations learn the levels independently and sort or penalise them. State: `mean`, `scale`.
    """

    examples = ({"name": "seconds", "label": "seconds"}, {"name": "price", "label": "price", "quantiles": [0.05, 0.25, 0.95]})
    metrics = ("pinball", "coverage_gap")
    is_scalar = False

    quantiles: tuple[float, ...] = Field(default=(0.1, 0.5, 0.9), min_length=1)
    """Levels of the quantiles, increasing and between 0 and 1: `0.5` is the median."""

    @field_validator("quantiles")
    @classmethod
    def _increasing(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        bounds = (0.0, *levels, 1.0)
        if not all(low < high for low, high in pairwise(bounds)):
            raise ValueError(f"expected increasing levels between 0 and 1, found {list(levels)}")
        return levels

    @property
    def levels(self) -> tuple[float, ...]:
        return self.quantiles

    def fit(self, labels: pl.Series) -> State:
        numbers = self.finite(labels)
        deviation = numbers.std(ddof=0)
        assert isinstance(deviation, float)
        return pl.DataFrame({"mean": [numbers.mean()], "scale": [deviation or 1.0]})

    def outputs(self, state: State) -> int:
        return len(self.quantiles)

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        scaled = (self.finite(labels) - state["mean"][0]) / state["scale"][0]
        return scaled.fill_null(0.0).to_torch().float()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        quantile_BQ = increasing(raw)
        level_Q = torch.tensor(self.quantiles, dtype=raw.dtype, device=raw.device)
        off_BQ = target[:, None] - quantile_BQ
        return torch.maximum(level_Q * off_BQ, (level_Q - 1) * off_BQ).mean(1)

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return increasing(raw) * state["scale"][0] + state["mean"][0]

    def truth(self, target: Tensor, state: State) -> Tensor:
        return target * state["scale"][0] + state["mean"][0]

    def names(self, state: State) -> tuple[str, ...]:
        """Return one column name per level: `task.0.5`."""
        return tuple(f"{self.name}.{level}" for level in self.quantiles)

    def constant(self, targets: Tensor) -> Tensor:
        sorted_N = targets.sort().values
        place_Q = (torch.tensor(self.quantiles, dtype=torch.float64) * len(targets)).ceil().long() - 1
        return raw_of_increasing(sorted_N[place_Q.clamp(0, len(targets) - 1)])
