"""The figures: every metric of every contender on the test rows, compared with the single-task models.

Shape letters: S seeds, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyrec.compare.choosing import Finished
from polyrec.compare.figure import Figure, Verdict
from polyrec.compare.resampling import resample
from polyrec.compare.statistics import LEVEL, estimate, holm
from polyrec.compare.truths import Truth
from polyrec.evaluate.metrics.metrics import METRICS


@dataclass(frozen=True)
class Values:
    """A metric of one contender on the test rows."""

    by_seed: np.ndarray
    """Value of each seed, (S,)."""
    resampled: np.ndarray
    """Value on each resample, averaged over the seeds, (R,)."""


def find(finished: Sequence[Finished], truths: Mapping[str, Truth], advance: Callable[[], None]) -> list[list[Figure]]:
    """Return the figures of each contender, with verdicts on all headlines together."""
    baselines: dict[tuple[str, str], Values] = {}
    figures: dict[int, list[Figure]] = {}
    for place, entry in sorted(enumerate(finished), key=lambda pair: pair[1].contender.role != "single"):
        values = _values(entry, truths)
        if entry.contender.role == "single":
            baselines |= values
        figures[place] = [_figure(key, value, entry, baselines, truths) for key, value in values.items()]
        advance()
    return _decide([figures[place] for place in range(len(finished))], truths)


def _values(finished: Finished, truths: Mapping[str, Truth]) -> dict[tuple[str, str], Values]:
    """Return every metric of every task of a contender by (task, metric)."""
    predictions = [run.predictions() for run in finished.runs]
    values = {}
    for task in finished.contender.tasks if predictions else ():
        truth = truths[task]
        seeds = [truth.observed(prediction[task]) for prediction in predictions]
        for metric in truth.metrics:
            by_seed = np.array([METRICS[metric](observed) for observed in seeds])
            resampled = np.mean([resample(metric, observed, truth.draws_RN) for observed in seeds], axis=0)
            values[task, metric] = Values(by_seed, resampled)
    return values


def _figure(
    key: tuple[str, str],
    values: Values,
    finished: Finished,
    baselines: Mapping[tuple[str, str], Values],
    truths: Mapping[str, Truth],
) -> Figure:
    task, metric = key
    baseline = baselines.get(key)
    by_seed = [float(value) for value in values.by_seed]
    deviation = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else math.nan
    figure = Figure(task, metric, by_seed, float(np.mean(by_seed)), deviation)
    if finished.contender.role == "single" or baseline is None:
        return figure
    spread = values.resampled - baseline.resampled
    defined = spread[~np.isnan(spread)]
    test_error = float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan
    difference = estimate(values.by_seed - baseline.by_seed, test_error, truths[task].users)
    sign = 1 if METRICS[metric].higher_is_better else -1
    level = abs(float(np.mean(baseline.by_seed)))
    gain = 100 * sign * difference.mean / level if level > 0 else math.nan
    return replace(figure, difference=difference, gain=gain)


def _decide(undecided: Sequence[Sequence[Figure]], truths: Mapping[str, Truth]) -> list[list[Figure]]:
    """Return the figures with Holm's p value and a verdict on each headline; with one seed, verdicts are unclear."""
    places = [
        (contender, place)
        for contender, figures in enumerate(undecided)
        for place, figure in enumerate(figures)
        if figure.difference is not None and figure.metric == truths[figure.task].headline
    ]
    heads = [undecided[contender][place] for contender, place in places]
    adjusted = holm([math.nan if head.difference is None else head.difference.p for head in heads])
    decided = [list(figures) for figures in undecided]
    for (contender, place), head, p in zip(places, heads, adjusted, strict=True):
        assert head.difference is not None
        verdict: Verdict = "unclear"
        if p < 1 - LEVEL and not math.isnan(head.difference.seed_error):
            verdict = "helps" if (head.difference.mean > 0) == METRICS[head.metric].higher_is_better else "hurts"
        decided[contender][place] = replace(head, adjusted_p=p, verdict=verdict)
    return decided
