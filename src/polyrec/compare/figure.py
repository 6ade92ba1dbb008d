"""One number of a comparison: a metric of a contender, with its difference from the single-task model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polyrec.compare.statistics import Estimate, or_nan

Verdict = Literal["helps", "hurts", "unclear"]


@dataclass(frozen=True)
class Figure:
    """A metric of one contender on the test rows of one task; undefined numbers are NaN."""

    task: str
    """Name of the task."""
    metric: str
    """Name of the metric."""
    values: Sequence[float]
    """Value of each seed."""
    mean: float
    """Mean over seeds."""
    deviation: float
    """Standard deviation between seeds; NaN with one seed."""
    difference: Estimate | None = None
    """Difference from the single-task model; None for single-task models and where there is no single-task value."""
    gain: float = math.nan
    """The difference in % of the single-task value, positive where the contender is better."""
    adjusted_p: float = math.nan
    """Holm's p value over all contenders and tasks; NaN for metrics that are not a headline."""
    verdict: Verdict | None = None
    """None for metrics that are not a headline."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figure for report.json, without its task and metric."""
        document: dict[str, Any] = {"values": self.values, "mean": self.mean, "deviation": self.deviation}
        if self.difference is not None:
            document |= {
                "difference": self.difference.mean,
                "low": self.difference.low,
                "high": self.difference.high,
                "seed_error": self.difference.seed_error,
                "test_error": self.difference.test_error,
                "degrees": self.difference.degrees,
                "gain_percent": self.gain,
                "p": self.difference.p,
                "adjusted_p": self.adjusted_p,
                "verdict": self.verdict,
            }
        return document

    @classmethod
    def from_dict(cls, task: str, metric: str, document: Mapping[str, Any]) -> Figure:
        """Read a figure of report.json."""
        values = [or_nan(value) for value in document["values"]]
        mean, deviation = or_nan(document["mean"]), or_nan(document["deviation"])
        if "difference" not in document:
            return cls(task, metric, values, mean, deviation)
        estimate = {"mean": document["difference"]} | {
            name: document[name] for name in ("low", "high", "p", "seed_error", "test_error", "degrees")
        }
        gain, adjusted_p = or_nan(document["gain_percent"]), or_nan(document["adjusted_p"])
        return cls(task, metric, values, mean, deviation, Estimate.from_dict(estimate), gain, adjusted_p, document["verdict"])
