"""Metric names by sample space: a task after earlier tasks is evaluated on all rows, and on the rows where these happened."""

from __future__ import annotations

from collections.abc import Sequence

from polyrec.evaluate.metrics.metrics import METRICS, Metric
from polyrec.evaluate.metrics.observed import Observed

ALL_ROWS = "_all_rows"
"""Suffix of a metric over all rows, for a task with a separate sample space: `auc_all_rows`."""

GIVEN = "_given_"
"""Start of the suffix of a metric over the rows where the earlier tasks happened: `auc_given_click`."""


def given(earlier: Sequence[str]) -> str:
    """Return the suffix for the rows where some tasks happened."""
    return GIVEN + "_and_".join(earlier)


def metric_of(name: str) -> Metric:
    """Return the metric of a name, with or without a suffix; a ranking metric is better when higher."""
    base = name.removesuffix(ALL_ROWS).split(GIVEN, 1)[0]
    return METRICS.get(base) or Metric(_undefined, higher_is_better=True)


def _undefined(observed: Observed) -> float:
    return float("nan")
