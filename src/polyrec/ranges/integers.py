"""Integers: any whole number between two."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from polyrec.ranges.range import Range, Sampler


class Integers(Range):
    """Whole numbers from low to high, both included, each as likely as another; with `log` small ones more often.

    Before there are trials to learn from, each value has the probability `1 / (high - low + 1)`; with `log` it is
    `round(exp(v))` with v uniform on [log(low - 1/2), log(high + 1/2)] (random search; Bergstra and Bengio, JMLR 2012).
    Numbers of experts, widths and epochs are searched here. Every value between the ends must make sense: for some widths
    only, `Choice` is the range.
    """

    examples = ({"low": 2, "high": 16}, {"low": 8, "high": 256, "log": True})

    low: int
    """Smallest value."""
    high: int
    """Largest value."""
    log: bool = False
    """Whether the logarithm of the value is drawn evenly."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"a range goes from low to high, not from {self.low} to {self.high}")
        if self.log and self.low < 1:
            raise ValueError(f"a range of whole numbers with `log` starts at 1 or above, not at {self.low}")
        return self

    def suggest(self, name: str, sampler: Sampler) -> int:
        return sampler.suggest_int(name, self.low, self.high, log=self.log)

    def ends(self) -> tuple[int, int]:
        return self.low, self.high
