"""Running the contenders: trials on the first seed, the one that is best on validation on all seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polyrec.compare.contenders import Contender
from polyrec.compare.fits.job import PREDICTIONS_FILE, RESULT_FILE, Job
from polyrec.compare.fits.pool import Pool


@dataclass(frozen=True)
class Run:
    """The folder of a finished job."""

    path: Path

    @property
    def result(self) -> dict[str, Any]:
        """What the job told of itself."""
        told: dict[str, Any] = json.loads((self.path / RESULT_FILE).read_text(encoding="utf-8"))
        return told

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the test predictions by task."""
        with np.load(self.path / PREDICTIONS_FILE, allow_pickle=False) as arrays:
            return {name.removeprefix("task."): arrays[name] for name in arrays.files}


@dataclass(frozen=True)
class Tried:
    """A trial with its utility on validation, or what went wrong."""

    utility: float
    run: str
    """Name of the folder of its fit."""
    error: str | None


@dataclass(frozen=True)
class Finished:
    """A contender after all its fits."""

    contender: Contender
    tried: Sequence[Tried]
    chosen: int | None
    """Position of the trial that was best on validation; None where all failed."""
    runs: Sequence[Run]
    """One run a seed; empty where a fit failed."""
    error: str | None


def count_fits(contenders: Sequence[Contender], seeds: int) -> int:
    """Return how many fits a comparison takes at most."""
    return sum(len(contender.trials) + seeds - 1 for contender in contenders)


def run_all(contenders: Sequence[Contender], seeds: int, pool: Pool, advance: Callable[[], None]) -> list[Finished]:
    """Run the trials of all contenders, then the other seeds of what each chose."""
    pool.run([trial.job for contender in contenders for trial in contender.trials], advance)
    tried = [[_judge(trial.job, pool) for trial in contender.trials] for contender in contenders]
    chosen = [_best(trials) for trials in tried]
    later = [_later(contender, place, seeds) for contender, place in zip(contenders, chosen, strict=True)]
    pool.run([job for jobs in later for job in jobs], advance)
    return [
        _finish(contender, trials, place, jobs, pool)
        for contender, trials, place, jobs in zip(contenders, tried, chosen, later, strict=True)
    ]


def _judge(job: Job, pool: Pool) -> Tried:
    error = pool.errors.get(job.key)
    utility = math.nan if error is not None else float(Run(pool.path(job)).result["utility"])
    return Tried(utility, job.key, error)


def _best(trials: Sequence[Tried]) -> int | None:
    """Return the first trial of the highest utility."""
    defined = [place for place, trial in enumerate(trials) if not math.isnan(trial.utility)]
    return max(defined, key=lambda place: trials[place].utility, default=None)


def _later(contender: Contender, chosen: int | None, seeds: int) -> list[Job]:
    return [] if chosen is None else [contender.trials[chosen].job.reseeded(seed) for seed in range(1, seeds)]


def _finish(contender: Contender, tried: Sequence[Tried], chosen: int | None, later: Sequence[Job], pool: Pool) -> Finished:
    if chosen is None:
        error = next((trial.error for trial in tried if trial.error), "no trial has a utility")
        return Finished(contender, tried, None, (), error)
    jobs = [contender.trials[chosen].job, *later]
    failed = {seed: pool.errors[job.key] for seed, job in enumerate(jobs) if job.key in pool.errors}
    runs = [] if failed else [Run(pool.path(job)) for job in jobs]
    return Finished(contender, tried, chosen, runs, next((f"seed {seed}: {told}" for seed, told in failed.items()), None))
