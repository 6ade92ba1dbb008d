"""Uniform: any number between two bounds."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from polyrec.ranges.range import Range, Sampler


class Uniform(Range):
    """Numbers in [low, high], uniformly; with `log`, uniformly in the logarithm.

    Before any trial is available, a value is `low + (high - low) u` with u uniform on [0, 1], or with `log` `low (high /
    low)^u`: random search (Bergstra and Bengio, JMLR 2012). Use `log` for learning rates, penalties and task weights: between
    0.0001 and 0.01, nine tenths of uniform draws exceed 0.001.
    """

    examples = ({"low": 0.0, "high": 0.5}, {"low": 1e-4, "high": 1e-2, "log": True})

    low: float
    """Minimum value."""
    high: float
    """Maximum value."""
    log: bool = False
    """Whether values are drawn uniformly in their logarithm."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"a range goes from low to high, not from {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range with `log` starts above 0, not at {self.low}")
        return self

    def suggest(self, name: str, sampler: Sampler) -> float:
        return sampler.suggest_float(name, self.low, self.high, log=self.log)

    def ends(self) -> tuple[float, float]:
        return self.low, self.high
