"""Running the contenders: all trials with the first seed, then the best one on validation with all seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyrec.compare.contenders import Contender
from polyrec.compare.fits.job import PREDICTIONS_FILE, RESULT_FILE, Job
from polyrec.compare.fits.pool import Pool
from polyrec.compare.fits.result import FitResult


@dataclass(frozen=True)
class Run:
    """The folder of a finished job."""

    path: Path

    @property
    def result(self) -> FitResult:
        """The result of the job."""
        return FitResult.from_dict(json.loads((self.path / RESULT_FILE).read_text(encoding="utf-8")))

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the test predictions by task."""
        with np.load(self.path / PREDICTIONS_FILE, allow_pickle=False) as arrays:
            return {name.removeprefix("task."): arrays[name] for name in arrays.files}


@dataclass(frozen=True)
class Tried:
    """The outcome of a trial."""

    utility: float
    """Utility on validation; NaN if the fit failed."""
    run: str
    """Name of the folder of the fit."""
    error: str | None
    """Error message of the fit; None if it succeeded."""


@dataclass(frozen=True)
class Finished:
    """A contender after all its fits."""

    contender: Contender
    """The contender."""
    tried: Sequence[Tried]
    """Outcome of each trial."""
    chosen: int | None
    """Position of the trial with the best utility on validation; None if all failed."""
    runs: Sequence[Run]
    """Run of each seed; empty if a fit failed."""
    error: str | None
    """Why there are no runs; None if there are."""


def count_fits(contenders: Sequence[Contender], seeds: int) -> int:
    """Return the largest number of fits that a comparison may need."""
    return sum(len(contender.trials) + seeds - 1 for contender in contenders)


def run_all(contenders: Sequence[Contender], seeds: int, pool: Pool, advance: Callable[[], None]) -> list[Finished]:
    """Run the trials of all contenders, then the chosen trial of each with the other seeds."""
    pool.run([trial.job for contender in contenders for trial in contender.trials], advance)
    tried = [[_judge(trial.job, pool) for trial in contender.trials] for contender in contenders]
    chosen = [_best(trials) for trials in tried]
    later = [_reseeded(contender, place, seeds) for contender, place in zip(contenders, chosen, strict=True)]
    pool.run([job for jobs in later for job in jobs], advance)
    return [
        _finish(contender, trials, place, jobs, pool)
        for contender, trials, place, jobs in zip(contenders, tried, chosen, later, strict=True)
    ]


def _judge(job: Job, pool: Pool) -> Tried:
    error = pool.errors.get(job.key)
    utility = math.nan if error is not None else Run(pool.path(job)).result.utility
    return Tried(utility, job.key, error)


def _best(trials: Sequence[Tried]) -> int | None:
    """Return the position of the first trial with the highest utility."""
    defined = [place for place, trial in enumerate(trials) if not math.isnan(trial.utility)]
    return max(defined, key=lambda place: trials[place].utility, default=None)


def _reseeded(contender: Contender, chosen: int | None, seeds: int) -> list[Job]:
    """Return the jobs of the chosen trial with all seeds but the first."""
    return [] if chosen is None else [contender.trials[chosen].job.reseeded(seed) for seed in range(1, seeds)]


def _finish(contender: Contender, tried: Sequence[Tried], chosen: int | None, later: Sequence[Job], pool: Pool) -> Finished:
    if chosen is None:
        error = next((trial.error for trial in tried if trial.error), "no trial has a utility")
        return Finished(contender, tried, None, (), error)
    jobs = [contender.trials[chosen].job, *later]
    failed = {seed: pool.errors[job.key] for seed, job in enumerate(jobs) if job.key in pool.errors}
    runs = [] if failed else [Run(pool.path(job)) for job in jobs]
    return Finished(contender, tried, chosen, runs, next((f"seed {seed}: {error}" for seed, error in failed.items()), None))
