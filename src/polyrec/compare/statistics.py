"""The difference between two models that are trained with several seeds and judged on the same test rows.

Shape letters: S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyrec.core.errors import missing_extra

LEVEL = 0.95
"""Coverage of the intervals; the level of the tests is 1 - LEVEL."""


@dataclass(frozen=True)
class Estimate:
    """A mean difference with a t interval; undefined numbers are NaN."""

    mean: float
    """Mean difference over seeds."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    p: float
    """p value of the hypothesis that there is no difference."""
    seed_error: float
    """Standard error due to the seeds, `s / sqrt(S)`; NaN with one seed."""
    test_error: float
    """Bootstrap standard error due to the test users."""
    degrees: float
    """Degrees of freedom of the t distribution."""

    @classmethod
    def from_dict(cls, document: Mapping[str, float | None]) -> Estimate:
        """Read an estimate whose undefined numbers are None."""
        return cls(**{name: or_nan(value) for name, value in document.items()})


def estimate(differences_S: np.ndarray, test_error: float, users: int) -> Estimate:
    """Estimate the mean over seeds, with the seeds and the test users as two independent sources of error.

    The variance of the mean is `s^2 / S + e^2`, with s the standard deviation of the differences between seeds and e the
    bootstrap standard error over test users of the seed-averaged difference. The t interval has the degrees of freedom of Welch
    (Biometrika 1947) and Satterthwaite: `V^2 / ((s^2 / S)^2 / (S - 1) + e^4 / (users - 1))`. With one seed the first term is
    unknown and omitted, which makes the interval too narrow.
    """
    seeds = len(differences_S)
    mean = float(np.mean(differences_S)) if seeds else math.nan
    if not math.isfinite(mean) or not math.isfinite(test_error) or users < 2:
        return Estimate(mean, math.nan, math.nan, math.nan, math.nan, test_error, math.nan)
    seed_error = float(np.std(differences_S, ddof=1)) / math.sqrt(seeds) if seeds > 1 else math.nan
    parts = [(test_error**2, users - 1)] + ([(seed_error**2, seeds - 1)] if seeds > 1 else [])
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Estimate(mean, mean, mean, float(mean == 0), seed_error, test_error, math.inf)
    shares = [(part / variance, part_degrees) for part, part_degrees in parts]
    degrees = 1 / sum(share**2 / part_degrees for share, part_degrees in shares)
    error = math.sqrt(variance)
    student = _student()
    reach = float(student.ppf((1 + LEVEL) / 2, degrees)) * error
    p = 2 * float(student.sf(abs(mean) / error, degrees))
    return Estimate(mean, mean - reach, mean + reach, p, seed_error, test_error, degrees)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for multiple tests (Holm, Scandinavian Journal of Statistics 1979); NaN values are not tests.

    The k-th smallest of n is multiplied by n - k + 1 and capped at 1; a running maximum keeps the order.
    """
    tests = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * p))
        adjusted[place] = highest
    return adjusted


def or_nan(value: float | None) -> float:
    """Return a number read from JSON, where an undefined number is None."""
    return math.nan if value is None else value


def _student() -> Any:
    """Return SciPy's Student t distribution."""
    try:
        from scipy.stats import t
    except ImportError as error:
        raise missing_extra("scipy", "compare", "a comparison") from error
    return t
