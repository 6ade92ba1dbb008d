"""Percentile bootstrap intervals; users are drawn with replacement, because rows of one user are not independent.

Shape letters: N rows, U users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from polyrec.evaluate.metrics.observed import Observed

LEVEL = 0.95
"""Share of the bootstrap distribution inside an interval."""


def multiplicities(group: np.ndarray | None, rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield for each bootstrap resample how often each row counts (N,): as often as its user was drawn.

    Without groups, every row is a separate user.
    """
    codes = np.arange(rows) if group is None else np.unique(group, return_inverse=True)[1]
    users = int(codes.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(users, size=users), minlength=users)[codes]


def interval(metric: Callable[[Observed], float], observed: Observed, resamples: int, seed: int) -> tuple[float, float]:
    """Return the interval of a metric; resamples for which it is undefined are excluded."""
    draws = multiplicities(_drawn(observed), len(observed.target), resamples, seed)
    return _percentiles(metric(observed.weighted(draw)) for draw in draws)


def paired_interval(
    metric: Callable[[Observed], float], first: Observed, second: Observed, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the interval of the difference, second minus first, between two models on the same rows."""
    assert len(first.target) == len(second.target)
    draws = multiplicities(_drawn(first), len(first.target), resamples, seed)
    return _percentiles(metric(second.weighted(draw)) - metric(first.weighted(draw)) for draw in draws)


def mean_interval(values_U: np.ndarray, resamples: int, seed: int, weight_U: np.ndarray | None = None) -> tuple[float, float]:
    """Return the interval of the mean, weighted if weights are given, of one value per user; NaN values are excluded."""
    is_defined_U = ~np.isnan(values_U)
    defined_U = values_U[is_defined_U]
    defined_weight_U = np.ones(len(defined_U)) if weight_U is None else weight_U[is_defined_U]
    if len(defined_U) == 0:
        return float("nan"), float("nan")
    draws = multiplicities(None, len(defined_U), resamples, seed)
    return _percentiles(float(np.average(defined_U, weights=draw * defined_weight_U)) for draw in draws)


def _drawn(observed: Observed) -> np.ndarray | None:
    return observed.group if observed.cluster is None else observed.cluster


def _percentiles(values: Iterable[float]) -> tuple[float, float]:
    defined = [value for value in values if not np.isnan(value)]
    if not defined:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
