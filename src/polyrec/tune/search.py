"""The search: run trials, one at a time or in several processes, until the requested number is reached."""

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
from polyrec.tune.storage import counted, fingerprint, locked, opened, records, resume_study
from polyrec.tune.trial import propose, run_trial

if TYPE_CHECKING:
    from optuna import Study, Trial

_FAILURES = 3
"""Number of failed trials, without a complete one, after which the search stops: the data or the declaration is at fault."""

OnProgress = Callable[[int, str], None]
"""Receives the number of finished trials and a note on the current one."""


@dataclass(frozen=True)
class Search:
    """A search: declaration, ranges, objectives, data and budget."""

    spec: Recommender
    ranges: Mapping[str, Range]
    objectives: Sequence[Objective]
    data: Source | Tables
    validation: Source | None
    trials: int
    """Number of trials to reach, including those of earlier runs on the same storage."""
    storage: Path
    """File of the study."""
    seed: int = 0
    """Seed of the proposals. Every trial trains with the seed of the declaration, so trials differ only in their settings."""
    prune: bool = True
    """Whether to stop trials whose objective falls behind the median of earlier trials."""
    jobs: int = 1
    """Number of processes that run trials."""


def search(job: Search, on_progress: OnProgress = lambda done, note: None) -> Tuned:
    """Run trials until the storage has `job.trials`, and return all of them.

    The first trial is the unchanged declaration. Each trial's proposals are seeded by `seed` and the number of earlier trials:
    a search in one process that is killed and resumed proposes the same settings as an uninterrupted one. With several
    processes, proposals depend on the order in which trials end.

    Raises `UserError` if there is no range, a range does not fit the declaration, the storage belongs to another search, or no
    trial succeeds.
    """
    if not job.ranges:
        remedy = "Declare `search` in the spec, or add --range training.learning_rate=1e-4..1e-2:log."
        raise UserError("the search", expected="one range or more", found="none", remedy=remedy)
    plain = job.spec.replace(search={})
    check_ranges(plain, job.ranges)
    with locked(job.storage), opened(job.storage, job.objectives, job.prune) as study:
        resume_study(study, fingerprint(job.spec, job.ranges, job.objectives, job.seed), job.storage)
        if job.jobs == 1:
            work(job, study, nullcontext(), on_progress)
        else:
            _share(job, study, on_progress)
        trials = records(study)
    if not any(trial.values is not None for trial in trials):
        errors = [trial.error for trial in trials if trial.error] or ["every trial was pruned"]
        remedy = "Fix the data or the declaration, or narrow the ranges."
        raise UserError("the search", expected="a trial that ends with a value", found=errors[-1].rstrip("."), remedy=remedy)
    return Tuned(job.objectives, trials)


def work(job: Search, study: Study, lock: AbstractContextManager[Any], on_progress: OnProgress) -> None:
    """Run trials, each claimed under the lock, until the requested number is reached or no trial can succeed."""
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
    """Raise `UserError` if earlier trials were run on another table."""
    data_hash = trial.user_attrs["data"]
    if study.user_attrs.get("data", data_hash) != data_hash:
        remedy = "Choose another --out, or use the table of the earlier trials."
        raise UserError(f"study '{storage}'", expected="trials on one table", found="another table", remedy=remedy)
    study.set_user_attr("data", data_hash)


def _is_hopeless(study: Study) -> bool:
    trials = records(study)
    failed = sum(trial.state == "failed" for trial in trials)
    return failed >= _FAILURES and all(trial.values is None for trial in trials)


def _share(job: Search, study: Study, on_progress: OnProgress) -> None:
    """Run trials in separate processes, since all threads of a process share torch's generator."""
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    workers = [context.Process(target=_work_apart, args=(job, lock), daemon=True) for _ in range(job.jobs)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(0.5)
        finished = [trial for trial in counted(study) if trial.state.is_finished()]
        on_progress(len(finished), f"{job.jobs} at a time")
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    if codes:
        raise RuntimeError(f"{len(codes)} of {job.jobs} processes ended with the exit codes {codes}; see their output above")


def _work_apart(job: Search, lock: Any) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // job.jobs))
    with opened(job.storage, job.objectives, job.prune) as study:
        work(job, study, lock, lambda done, note: None)
