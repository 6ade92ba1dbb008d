"""Integers: any integer between two bounds."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from polyrec.ranges.range import Range, Sampler


class Integers(Range):
    """Integers from low to high, both included, with equal probability; with `log`, small ones are more frequent.

    Before any trial is available, each value has the probability `1 / (high - low + 1)`; with `log` it is `round(exp(v))` with
    v uniform on [log(low - 1/2), log(high + 1/2)] (random search; Bergstra and Bengio, JMLR 2012). Suitable for numbers of
    experts, widths and epochs. Every integer between the bounds must be valid: use `Choice` for individual widths.
    """

    examples = ({"low": 2, "high": 16}, {"low": 8, "high": 256, "log": True})

    low: int
    """Minimum value."""
    high: int
    """Maximum value."""
    log: bool = False
    """Whether values are drawn uniformly in their logarithm."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"a range goes from low to high, not from {self.low} to {self.high}")
        if self.log and self.low < 1:
            raise ValueError(f"a range of integers with `log` starts at 1 or above, not at {self.low}")
        return self

    def suggest(self, name: str, sampler: Sampler) -> int:
        return sampler.suggest_int(name, self.low, self.high, log=self.log)

    def ends(self) -> tuple[int, int]:
        return self.low, self.high
