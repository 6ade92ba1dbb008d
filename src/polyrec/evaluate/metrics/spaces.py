"""Names of metrics by sample space: a task that comes after others is judged over all rows and given that those happened."""

from __future__ import annotations

from collections.abc import Sequence

from polyrec.evaluate.metrics.metrics import METRICS, Metric
from polyrec.evaluate.metrics.observed import Observed

ALL_ROWS = "_all_rows"
"""Ending of a metric over all rows, where a task has a sample space of its own: `auc_all_rows`."""

GIVEN = "_given_"
"""Start of the ending of a metric over the rows where the earlier tasks happened: `auc_given_click`."""


def given(earlier: Sequence[str]) -> str:
    """Return the ending for the rows where some tasks happened."""
    return GIVEN + "_and_".join(earlier)


def metric_of(name: str) -> Metric:
    """Return the metric that a name with or without an ending stands for; a ranking metric is better when higher."""
    base = name.removesuffix(ALL_ROWS).split(GIVEN, 1)[0]
    return METRICS.get(base) or Metric(_undefined, higher_is_better=True)


def _undefined(observed: Observed) -> float:
    return float("nan")
