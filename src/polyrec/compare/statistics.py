"""The difference between two models that are each trained from several seeds and judged on the same test rows.

Shape letters: S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyrec.core.errors import missing_extra

LEVEL = 0.95
"""Coverage of the intervals; 1 minus it is the level of the tests."""


@dataclass(frozen=True)
class Estimate:
    """A mean difference with a t interval and the p value of "there is no difference"."""

    mean: float
    low: float
    high: float
    p: float
    seed_error: float
    """Standard error that comes from the seeds: `s / sqrt(S)`; NaN with one seed."""
    test_error: float
    """Standard error that comes from the test users, by bootstrap."""
    degrees: float
    """Degrees of freedom of the t distribution."""


def estimate(differences_S: np.ndarray, test_error: float, users: int) -> Estimate:
    """Return the mean over seeds, with the seeds and the test users as two independent sources of error.

    The variance of the mean is `s^2 / S + e^2`, with s the standard deviation of the differences between seeds and e the
    bootstrap standard error over test users of the seed-averaged difference. The t interval has the degrees of freedom of Welch
    (Biometrika 1947) and Satterthwaite: `V^2 / ((s^2 / S)^2 / (S - 1) + e^4 / (users - 1))`. With one seed the first term is
    unknown and left out, so that the interval is too narrow.
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
    shares = [(part / variance, degrees) for part, degrees in parts]
    degrees = 1 / sum(share**2 / own for share, own in shares)
    error = math.sqrt(variance)
    student = _student()
    reach = float(student.ppf((1 + LEVEL) / 2, degrees)) * error
    p = 2 * float(student.sf(abs(mean) / error, degrees))
    return Estimate(mean, mean - reach, mean + reach, p, seed_error, test_error, degrees)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for all tests made (Holm, Scandinavian Journal of Statistics 1979); NaN is no test.

    In ascending order the k-th of n is multiplied by n - k + 1; each is at least as large as the one before it, at most 1.
    """
    tests = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * p))
        adjusted[place] = highest
    return adjusted


def _student() -> Any:
    """Return Student's t distribution of SciPy."""
    try:
        from scipy.stats import t
    except ImportError as error:
        raise missing_extra("scipy", "compare", "a comparison") from error
    return t
