"""The figures of a text report: each arm on each slice, and differences between arms on the same rows and seeds.

Shape letters: S seeds, R resamples, U users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from polyrec.compare.resampling import draw_users, resample
from polyrec.compare.statistics import Estimate, estimate, holm, or_nan
from polyrec.compare.text.arms import TF_IDF, WHOLE, WITHOUT
from polyrec.compare.text.fits import FUSED, Key, TextFit, ranking_metric
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.recommender import Recommender

Verdict = Literal["better", "worse", "unclear"]

AGAINST = {WITHOUT: "the declaration without text", TF_IDF: "TF-IDF in the place of its encoder"}
"""The arms with which the declaration is compared, with a description."""


@dataclass(frozen=True)
class Cell:
    """A metric of an arm on a slice."""

    slice: str
    """Name of the slice."""
    task: str
    """Name of the task, or `fused ranking`."""
    metric: str
    """Name of the metric."""
    values: tuple[float, ...]
    """Value of each seed; NaN where undefined."""
    rows: int
    """Number of units resampled: users, or labels where there are no users."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Cell:
        """Read a metric of text-report.json."""
        return cls(**{**document, "values": tuple(map(or_nan, document["values"]))})


@dataclass(frozen=True)
class Difference:
    """The declaration minus another arm, on a slice."""

    slice: str
    """Name of the slice."""
    task: str
    """Name of the task, or `fused ranking`."""
    metric: str
    """Name of the metric."""
    against: str
    """Name of the other arm."""
    estimate: Estimate
    """Mean difference over seeds, with an interval."""
    adjusted_p: float
    """Holm's p value over all differences."""
    verdict: Verdict
    """Whether the declaration is better than the other arm."""

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Difference:
        """Read a difference of text-report.json."""
        estimate, adjusted_p = Estimate.from_dict(document["estimate"]), or_nan(document["adjusted_p"])
        return cls(**{**document, "estimate": estimate, "adjusted_p": adjusted_p})


@dataclass(frozen=True)
class _Values:
    by_seed_S: np.ndarray
    """Value of each seed."""
    spread: np.ndarray
    """Value on each resample (R,) or of each user (U,), averaged over the seeds."""
    units: int
    """Number of users, or of labels where there are no users."""
    is_ranked: bool
    """Set if `spread` has users rather than resamples."""
    higher_is_better: bool
    metric: str


def find(
    spec: Recommender, fits: Mapping[str, Sequence[TextFit]], resamples: int
) -> tuple[dict[str, list[Cell]], list[Difference]]:
    """Return the metrics of every arm, and the differences between the declaration and the arms of `AGAINST`."""
    by_arm = {arm: _values(spec, seeds, resamples) for arm, seeds in fits.items()}
    cells = {arm: [_cell(key, value) for key, value in values.items()] for arm, values in by_arm.items()}
    return cells, _differences(by_arm)


def _differences(values_by_arm: Mapping[str, Mapping[Key, _Values]]) -> list[Difference]:
    """Return the differences, with verdicts at 5 % for all of them together (Holm)."""
    declared = values_by_arm[WHOLE]
    pairs: list[tuple[Key, str, _Values, Estimate]] = []
    for arm in AGAINST:
        others = values_by_arm.get(arm, {})
        pairs += [(key, arm, declared[key], _difference(declared[key], others[key])) for key in declared if key in others]
    adjusted = holm([mean_difference.p for *_, mean_difference in pairs])
    return [
        Difference(*key, values.metric, arm, mean_difference, p, _verdict(mean_difference, p, values.higher_is_better))
        for (key, arm, values, mean_difference), p in zip(pairs, adjusted, strict=True)
    ]


def _values(spec: Recommender, fits: Sequence[TextFit], resamples: int) -> dict[Key, _Values]:
    """Return the headline metric of each task and of the rankings on each slice."""
    headlines = {task.name: next((name for name in task.metrics if name in METRICS), None) for task in spec.tasks}
    values: dict[Key, _Values] = {}
    for key, first in fits[0].observed.items():
        metric = headlines[key[1]]
        assert metric is not None
        seeds = [fit.observed[key] for fit in fits]
        by_seed = np.array([METRICS[metric](observed) for observed in seeds])
        drawn = first.group if first.cluster is None else first.cluster
        draws_RN = draw_users(drawn, len(first.target), resamples)
        spread = np.mean([resample(metric, observed, draws_RN) for observed in seeds], axis=0)
        units = len(first.target) if drawn is None else len(np.unique(drawn))
        values[key] = _Values(by_seed, spread, units, False, METRICS[metric].higher_is_better, metric)
    for key, first_U in fits[0].ranked.items():
        by_seed = np.array([np.nanmean(fit.ranked[key]) for fit in fits])
        spread = np.mean([fit.ranked[key] for fit in fits], axis=0)
        values[key] = _Values(by_seed, spread, len(first_U), True, True, ranking_metric(spec, key[1]))
    return values


def _cell(key: Key, values: _Values) -> Cell:
    return Cell(*key, values.metric, tuple(float(value) for value in values.by_seed_S), values.units)


def _difference(declared: _Values, other: _Values) -> Estimate:
    """Estimate the mean difference; the standard error over test users is by bootstrap, or that of a mean for rankings."""
    spread = declared.spread - other.spread
    defined = spread[~np.isnan(spread)]
    error = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan
    if declared.is_ranked and len(defined):
        error /= math.sqrt(len(defined))
    return estimate(declared.by_seed_S - other.by_seed_S, error, declared.units)


def higher_is_better(metric: str) -> bool:
    """Return whether higher values of a metric are better, as for all ranking metrics."""
    return metric not in METRICS or METRICS[metric].higher_is_better


def _verdict(difference: Estimate, p: float, higher_is_better: bool) -> Verdict:
    """Return the verdict at 5 %; with one seed it is unclear."""
    if math.isnan(p) or p >= 0.05 or math.isnan(difference.seed_error):
        return "unclear"
    return "better" if (difference.mean > 0) == higher_is_better else "worse"


def verdict_of(differences: Sequence[Difference]) -> str:
    """Return in a few sentences whether the language model pays, for which tasks and for which items."""
    parts = [_sentence(differences, WITHOUT, "Text"), _sentence(differences, TF_IDF, "Beside TF-IDF, the language model")]
    return " ".join(part for part in parts if part) or "There is nothing to hold the texts against."


def _sentence(differences: Sequence[Difference], against: str, subject: str) -> str:
    relevant = [difference for difference in differences if difference.against == against]
    if not relevant:
        return ""
    clauses = [part for part in (_clause(relevant, "better", "pays for"), _clause(relevant, "worse", "costs")) if part]
    unclear = sum(difference.verdict == "unclear" for difference in relevant)
    if not clauses:
        return f"{subject} makes no difference that is beyond chance in any of {len(relevant)} figures."
    return f"{subject} {' and '.join(clauses)}; {unclear} of {len(relevant)} figures are unclear."


def _clause(differences: Sequence[Difference], verdict: Verdict, verb: str) -> str:
    places: dict[str, list[str]] = {}
    for difference in differences:
        if difference.verdict == verdict:
            places.setdefault(difference.task, []).append(difference.slice)
    texts = [f"{'the ' if task == FUSED else ''}{task} ({', '.join(slices)})" for task, slices in places.items()]
    return f"{verb} {'; '.join(texts)}" if texts else ""
