"""The figures: every metric of every contender on the test rows, against the single-task models.

Shape letters: S seeds, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from polyrec.compare.choosing import Finished
from polyrec.compare.resampling import resample
from polyrec.compare.statistics import LEVEL, Estimate, estimate, holm
from polyrec.compare.truths import Truth
from polyrec.evaluate.metrics.metrics import METRICS

Verdict = Literal["helps", "hurts", "unclear"]


@dataclass(frozen=True)
class Values:
    """A metric of one contender."""

    by_seed: np.ndarray
    """On the test rows, (S,)."""
    resampled: np.ndarray
    """On each resample, averaged over the seeds, (R,)."""


@dataclass(frozen=True)
class Figure:
    """A metric of one contender, and its difference to the single-task model."""

    task: str
    metric: str
    values: Sequence[float]
    """One a seed."""
    difference: Estimate | None
    """None for a single-task model, and where there is none to compare with."""
    gain: float = math.nan
    """The difference as a percentage of the single-task value, above zero where it is better."""
    adjusted_p: float = math.nan
    """Holm's p value, over all contenders and tasks; NaN for metrics that are not a headline."""
    verdict: Verdict | None = None
    """None for metrics that are not a headline."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation between seeds; NaN with one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan


def find(finished: Sequence[Finished], truths: Mapping[str, Truth], advance: Callable[[], None]) -> list[list[Figure]]:
    """Return the figures of each contender, and decide on the headlines all together."""
    baselines: dict[tuple[str, str], Values] = {}
    found = []
    for own in sorted(finished, key=lambda own: own.contender.role != "single"):
        values = _values(own, truths)
        if own.contender.role == "single":
            baselines |= values
        found.append((own, [_figure(key, value, own, baselines, truths) for key, value in values.items()]))
        advance()
    order = {id(own): place for place, own in enumerate(finished)}
    found.sort(key=lambda pair: order[id(pair[0])])
    return _decide([figures for _, figures in found], truths)


def _values(own: Finished, truths: Mapping[str, Truth]) -> dict[tuple[str, str], Values]:
    """Return every metric of every task of a contender by (task, metric)."""
    predictions = [run.predictions() for run in own.runs]
    values = {}
    for task in own.contender.tasks if predictions else ():
        truth = truths[task]
        seen = [truth.observed(prediction[task]) for prediction in predictions]
        for metric in truth.metrics:
            by_seed = np.array([METRICS[metric](observed) for observed in seen])
            resampled = np.mean([resample(metric, observed, truth.draws_RN) for observed in seen], axis=0)
            values[task, metric] = Values(by_seed, resampled)
    return values


def _figure(
    key: tuple[str, str],
    values: Values,
    own: Finished,
    baselines: Mapping[tuple[str, str], Values],
    truths: Mapping[str, Truth],
) -> Figure:
    task, metric = key
    baseline = baselines.get(key)
    told = [float(value) for value in values.by_seed]
    if own.contender.role == "single" or baseline is None:
        return Figure(task, metric, told, None)
    spread = values.resampled - baseline.resampled
    defined = spread[~np.isnan(spread)]
    test_error = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan
    difference = estimate(values.by_seed - baseline.by_seed, test_error, truths[task].users)
    sign = 1 if METRICS[metric].higher_is_better else -1
    level = abs(float(np.mean(baseline.by_seed)))
    gain = 100 * sign * difference.mean / level if level > 0 else math.nan
    return Figure(task, metric, told, difference, gain)


def _decide(found: Sequence[Sequence[Figure]], truths: Mapping[str, Truth]) -> list[list[Figure]]:
    """Return the figures with Holm's p values and a verdict on each headline; of one seed nothing can be said."""
    places = [
        (contender, place)
        for contender, figures in enumerate(found)
        for place, figure in enumerate(figures)
        if figure.difference is not None and figure.metric == truths[figure.task].headline
    ]
    heads = [found[contender][place] for contender, place in places]
    adjusted = holm([math.nan if head.difference is None else head.difference.p for head in heads])
    decided = [list(figures) for figures in found]
    for (contender, place), head, p in zip(places, heads, adjusted, strict=True):
        assert head.difference is not None
        verdict: Verdict = "unclear"
        if p < 1 - LEVEL and not math.isnan(head.difference.seed_error):
            verdict = "helps" if (head.difference.mean > 0) == METRICS[head.metric].higher_is_better else "hurts"
        decided[contender][place] = replace(head, adjusted_p=p, verdict=verdict)
    return decided
