"""The difference between two models that are each trained from several seeds and judged on the same test rows.

Shape letters: S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    reach = t_quantile((1 + LEVEL) / 2, degrees) * error
    return Estimate(mean, mean - reach, mean + reach, t_p_value(mean / error, degrees), seed_error, test_error, degrees)


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


def t_p_value(t: float, degrees: float) -> float:
    """Return the probability that |T| is at least |t|: `I_x(degrees / 2, 1 / 2)` at `x = degrees / (degrees + t^2)`."""
    return _beta(degrees / (degrees + t * t), degrees / 2, 0.5)


def t_quantile(level: float, degrees: float) -> float:
    """Return the t at which the distribution reaches a level above one half, by bisection."""
    assert 0.5 < level < 1
    low, high = 0.0, 1.0
    while 1 - t_p_value(high, degrees) / 2 < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if 1 - t_p_value(middle, degrees) / 2 >= level else (middle, high)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz's method)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    scale = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    fraction, upper, lower = 1.0, 1.0, 0.0
    for step in range(1000):
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = half * (b - half) * x / ((a + step - 1) * (a + step))
        else:
            term = -(a + half) * (a + b + half) * x / ((a + step - 1) * (a + step))
        lower = 1 / ((1 + term * lower) or tiny)
        upper = (1 + term / upper) or tiny
        fraction *= lower * upper
        if abs(lower * upper - 1) < 1e-15:
            break
    return scale * (fraction - 1)
