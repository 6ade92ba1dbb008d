"""The figures of a text report: each arm in each slice, and its difference to others on the same rows and seeds.

Shape letters: S seeds, R resamples, U users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyrec.compare.resampling import draw_users, resample
from polyrec.compare.statistics import Estimate, estimate, holm
from polyrec.compare.text.arms import TF_IDF, WHOLE, WITHOUT
from polyrec.compare.text.fits import FUSED, Key, TextFit, ranking_metric
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.recommender import Recommender

Verdict = Literal["better", "worse", "unclear"]

AGAINST = {WITHOUT: "the declaration without text", TF_IDF: "TF-IDF in the place of its encoder"}
"""The arms that the declaration is held against, for people."""


@dataclass(frozen=True)
class Cell:
    """A metric of an arm in a slice."""

    slice: str
    task: str
    metric: str
    values: tuple[float, ...]
    """One a seed."""
    rows: int
    """Labels judged, or users ranked for."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))


@dataclass(frozen=True)
class Difference:
    """The declaration against another arm in a slice."""

    slice: str
    task: str
    metric: str
    against: str
    estimate: Estimate
    adjusted_p: float
    verdict: Verdict


@dataclass(frozen=True)
class _Values:
    by_seed_S: np.ndarray
    spread: np.ndarray
    """On each resample (R,), or of each user (U,), averaged over the seeds."""
    units: int
    is_ranked: bool
    higher_is_better: bool
    metric: str


def find(
    spec: Recommender, fits: Mapping[str, Sequence[TextFit]], resamples: int
) -> tuple[dict[str, list[Cell]], list[Difference]]:
    """Return the figures of every arm, and the declaration's differences to the arms of `AGAINST`."""
    values = {arm: _values(spec, own, resamples) for arm, own in fits.items()}
    return {arm: [_cell(key, own) for key, own in found.items()] for arm, found in values.items()}, _differences(values)


def _differences(values_by_arm: Mapping[str, Mapping[Key, _Values]]) -> list[Difference]:
    """Return the declaration's differences, with verdicts at 5 % for all of them together (Holm)."""
    own = values_by_arm[WHOLE]
    found: list[tuple[Key, str, _Values, Estimate]] = []
    for arm in AGAINST:
        others = values_by_arm.get(arm, {})
        found += [(key, arm, own[key], _difference(own[key], others[key])) for key in own if key in others]
    adjusted = holm([told.p for *_, told in found])
    return [
        Difference(*key, values.metric, arm, told, p, _verdict(told, p, values.higher_is_better))
        for (key, arm, values, told), p in zip(found, adjusted, strict=True)
    ]


def _values(spec: Recommender, fits: Sequence[TextFit], resamples: int) -> dict[Key, _Values]:
    """Return the headline of each task in each slice, and of the rankings."""
    headlines = {task.name: next((name for name in task.metrics if name in METRICS), None) for task in spec.tasks}
    found: dict[Key, _Values] = {}
    for key, first in fits[0].observed.items():
        metric = headlines[key[1]]
        assert metric is not None
        seen = [fit.observed[key] for fit in fits]
        by_seed = np.array([METRICS[metric](observed) for observed in seen])
        drawn = first.group if first.cluster is None else first.cluster
        draws_RN = draw_users(drawn, len(first.target), resamples)
        spread = np.mean([resample(metric, observed, draws_RN) for observed in seen], axis=0)
        units = len(first.target) if drawn is None else len(np.unique(drawn))
        found[key] = _Values(by_seed, spread, units, False, METRICS[metric].higher_is_better, metric)
    for key, first_U in fits[0].ranked.items():
        by_seed = np.array([np.nanmean(fit.ranked[key]) for fit in fits])
        spread = np.mean([fit.ranked[key] for fit in fits], axis=0)
        found[key] = _Values(by_seed, spread, len(first_U), True, True, ranking_metric(spec, key[1]))
    return found


def _cell(key: Key, own: _Values) -> Cell:
    return Cell(*key, own.metric, tuple(float(value) for value in own.by_seed_S), own.units)


def _difference(own: _Values, other: _Values) -> Estimate:
    """Return the mean difference; its error over test users is a bootstrap's or, for a mean over users, the plain one."""
    spread = own.spread - other.spread
    defined = spread[~np.isnan(spread)]
    error = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan
    if own.is_ranked and len(defined):
        error /= math.sqrt(len(defined))
    return estimate(own.by_seed_S - other.by_seed_S, error, own.units)


def higher_is_better(metric: str) -> bool:
    """Return whether more of a metric is better, which it is of all metrics of rankings."""
    return metric not in METRICS or METRICS[metric].higher_is_better


def _verdict(told: Estimate, p: float, higher_is_better: bool) -> Verdict:
    """Return what can be said; of one seed nothing can."""
    if math.isnan(p) or p >= 0.05 or math.isnan(told.seed_error):
        return "unclear"
    return "better" if (told.mean > 0) == higher_is_better else "worse"


def verdict_of(differences: Sequence[Difference]) -> str:
    """Say in one sentence whether the language model pays, for which task and for which items."""
    parts = [_said(differences, WITHOUT, "Text"), _said(differences, TF_IDF, "Beside TF-IDF, the language model")]
    return " ".join(part for part in parts if part) or "There is nothing to hold the texts against."


def _said(differences: Sequence[Difference], against: str, subject: str) -> str:
    own = [told for told in differences if told.against == against]
    if not own:
        return ""

    said = [part for part in (_listed(own, "better", "pays for"), _listed(own, "worse", "costs")) if part]
    unclear = sum(told.verdict == "unclear" for told in own)
    if not said:
        return f"{subject} makes no difference that is beyond chance in any of {len(own)} figures."
    return f"{subject} {' and '.join(said)}; {unclear} of {len(own)} figures are unclear."


def _listed(own: Sequence[Difference], verdict: Verdict, verb: str) -> str:
    places: dict[str, list[str]] = {}
    for told in own:
        if told.verdict == verdict:
            places.setdefault(told.task, []).append(told.slice)
    texts = [f"{'the ' if task == FUSED else ''}{task} ({', '.join(slices)})" for task, slices in places.items()]
    return f"{verb} {'; '.join(texts)}" if texts else ""
