"""Assembling a `Comparison` from finished contenders and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyrec.compare.choosing import Finished
from polyrec.compare.comparison import ComparedRows, ComparedTask, Comparison, Settings
from polyrec.compare.contender_result import ContenderResult, Cost, SeedResult, TrialResult
from polyrec.compare.contenders import factors
from polyrec.compare.figure import Figure
from polyrec.compare.fits.job import versions
from polyrec.compare.fits.tables import Split
from polyrec.compare.gradients import gate_summary, gradient_summary
from polyrec.compare.statistics import LEVEL
from polyrec.compare.truths import Truth
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.recommender import Recommender


def assemble(
    spec: Recommender,
    varied: Mapping[str, Sequence[Any]],
    split: Split,
    truths: Mapping[str, Truth],
    finished: Sequence[Finished],
    figures: Sequence[Sequence[Figure]],
    *,
    design: str,
    seeds: int,
    trials: int,
    resamples: int,
    done: Sequence[str],
) -> Comparison:
    """Return the result of a comparison; `figures` has the figures of each contender of `finished`."""
    data = ComparedRows(split.learn.height, split.test.height, split.how, split.learn_path.stem, split.test_path.stem)
    settings = Settings(varied, design, seeds, trials, factors(trials), trials + seeds - 1, resamples, LEVEL)
    return Comparison(
        versions=versions(),
        spec=spec.model_dump(mode="json"),
        data=data,
        settings=settings,
        tasks={name: _task(truth) for name, truth in truths.items()},
        contenders=[_contender(*pair) for pair in zip(finished, figures, strict=True)],
        done=tuple(done),
    )


def _task(truth: Truth) -> ComparedTask:
    return ComparedTask(
        kind=type(truth.task).__name__,
        headline=truth.headline,
        higher_is_better={name: METRICS[name].higher_is_better for name in truth.metrics},
        test_rows=len(truth.target),
        test_users=None if truth.group is None else truth.users,
    )


def _contender(finished: Finished, figures: Sequence[Figure]) -> ContenderResult:
    contender, results = finished.contender, [run.result for run in finished.runs]
    spec = contender.trials[finished.chosen or 0].job.spec.model_dump(mode="json")
    boosted = contender.role == "boosting"
    memory = [result.peak_bytes for result in results if result.peak_bytes is not None]
    return ContenderResult(
        name=contender.name,
        role=contender.role,
        as_given=contender.as_given,
        tasks=contender.tasks,
        error=finished.error,
        network=None if boosted else spec["network"],
        balancing=None if boosted else spec["balancing"],
        trials=[
            TrialResult(trial.rate, trial.weights, tried.utility, tried.run, tried.error)
            for trial, tried in zip(contender.trials, finished.tried, strict=True)
        ],
        chosen=finished.chosen,
        seeds=[
            SeedResult(
                seed, run.path.name, result.utility, result.best_epoch, result.epochs, result.cpu_seconds, result.peak_bytes
            )
            for seed, (run, result) in enumerate(zip(finished.runs, results, strict=True))
        ],
        cost=Cost(
            parameters=results[0].parameters if results else None,
            cpu_seconds=float(np.mean([result.cpu_seconds for result in results])) if results else None,
            peak_bytes=max(memory, default=None),
        ),
        gradients=gradient_summary([result.curves for result in results]) if results else None,
        gates=gate_summary([result.gates for result in results]),
        figures=_by_task(figures),
    )


def _by_task(figures: Sequence[Figure]) -> dict[str, dict[str, Figure]]:
    by_task: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        by_task.setdefault(figure.task, {})[figure.metric] = figure
    return by_task
