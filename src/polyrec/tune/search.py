"""The search: trials one after another, or several at a time, until as many as were asked for are counted."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from polyrec.core.errors import UserError
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.ranges.checks import check_ranges
from polyrec.ranges.range import Range
from polyrec.recommender import Recommender
from polyrec.tune.objective import Objective
from polyrec.tune.outcome import Tuned
from polyrec.tune.storage import counted, fingerprint, held, opened, records, take_up
from polyrec.tune.trial import propose, run_trial

if TYPE_CHECKING:
    from optuna import Study, Trial

_FAILURES = 3
"""Failed trials, with none complete, after which the fault must be of the data or the declaration."""

OnProgress = Callable[[int, str], None]
"""Is told how many trials have ended and what the current one is at."""


@dataclass(frozen=True)
class Search:
    """What is searched, where, by what measure and for how long."""

    spec: Recommender
    ranges: Mapping[str, Range]
    objectives: Sequence[Objective]
    data: Source | Tables
    validation: Source | None
    trials: int
    """Trials that count, those of earlier runs on the same storage among them."""
    storage: Path
    """File of the study."""
    seed: int = 0
    """Seed of the proposals. The seed of the trainings is the declaration's for every trial: they differ in settings alone."""
    prune: bool = True
    jobs: int = 1
    """Processes that run trials."""


def search(job: Search, on_progress: OnProgress = lambda done, note: None) -> Tuned:
    """Run trials until `job.trials` are counted and return all that the storage holds.

    The first trial is the declaration as it stands. Each trial's proposals are seeded by `seed` and the number of trials
    counted before it, so that a search in one process that was killed and taken up again goes on as an uninterrupted one
    would have. With several processes, proposals depend on which trial ends first.

    Raises `UserError` where there is nothing to search, a range does not fit, the storage holds another search, or fitting
    fails in every trial.
    """
    if not job.ranges:
        remedy = "Declare `search` in the spec, or say --range training.learning_rate=1e-4..1e-2:log."
        raise UserError("the search", expected="a range or more", found="none", remedy=remedy)
    plain = job.spec.replace(search={})
    check_ranges(plain, job.ranges)
    with held(job.storage), opened(job.storage, job.objectives, job.prune) as study:
        take_up(study, fingerprint(job.spec, job.ranges, job.objectives, job.seed), job.storage)
        if job.jobs == 1:
            work(job, study, nullcontext(), on_progress)
        else:
            _share(job, study, on_progress)
        found = records(study)
    if not any(record.values is not None for record in found):
        errors = [record.error for record in found if record.error] or ["every trial was pruned"]
        remedy = "Mend the data or the declaration, or narrow the ranges."
        raise UserError("the search", expected="a trial that ends with a value", found=errors[-1].rstrip("."), remedy=remedy)
    return Tuned(job.objectives, found)


def work(job: Search, study: Study, lock: AbstractContextManager[Any], on_progress: OnProgress) -> None:
    """Run trials, each claimed under the lock, until enough are counted or none can succeed."""
    from optuna import TrialPruned
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    plain = job.spec.replace(search={})
    while True:
        with lock:
            before = counted(study)
            if len(before) >= job.trials or _is_hopeless(study):
                return
            study.sampler = TPESampler(seed=(job.seed * 1_000_003 + len(before)) % 2**32)
            trial = study.ask()
            number = len(before)
        on_progress(number, f"trial {trial.number}")
        try:
            parameters = propose(plain, job.ranges, trial) if number else {}
            trial.set_user_attr("parameters", parameters)
            note = partial(on_progress, number)
            values = run_trial(trial, plain, parameters, job.objectives, job.data, job.validation, note)
        except TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except UserError as error:
            trial.set_user_attr("error", str(error))
            study.tell(trial, state=TrialState.FAIL)
        else:
            _require_same_data(study, trial, job.storage)
            study.tell(trial, values)
        on_progress(number + 1, f"trial {trial.number}")


def _require_same_data(study: Study, trial: Trial, storage: Path) -> None:
    """Refuse to compare trials on one table with trials on another."""
    found = trial.user_attrs["data"]
    if study.user_attrs.get("data", found) != found:
        remedy = "Choose another --out, or go back to the table that it was begun with."
        raise UserError(f"study '{storage}'", expected="trials on one table", found="another table", remedy=remedy)
    study.set_user_attr("data", found)


def _is_hopeless(study: Study) -> bool:
    ended = records(study)
    failed = sum(record.state == "failed" for record in ended)
    return failed >= _FAILURES and all(record.values is None for record in ended)


def _share(job: Search, study: Study, on_progress: OnProgress) -> None:
    """Run trials in processes of their own, since torch's generator is one for all threads of a process."""
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    workers = [context.Process(target=_work_apart, args=(job, lock), daemon=True) for _ in range(job.jobs)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(0.5)
        ended = [trial for trial in counted(study) if trial.state.is_finished()]
        on_progress(len(ended), f"{job.jobs} at a time")
    broken = [worker.exitcode for worker in workers if worker.exitcode]
    if broken:
        raise RuntimeError(f"{len(broken)} of {job.jobs} processes ended with the exit codes {broken}; see their output above")


def _work_apart(job: Search, lock: Any) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // job.jobs))
    with opened(job.storage, job.objectives, job.prune) as study:
        work(job, study, lock, lambda done, note: None)
