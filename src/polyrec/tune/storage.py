"""The study on disk: trials in a SQLite file, kept by Optuna, that a search can be taken up from."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyrec.core.errors import UserError, missing_extra
from polyrec.ranges.range import Range
from polyrec.recommender import Recommender
from polyrec.tune.objective import Objective
from polyrec.tune.outcome import TrialRecord, TrialState

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_NAME = "polyrec"
_STARTUP = 4
"""Complete trials before one is pruned."""
_WARMUP = 1
"""Epochs of a trial before it is pruned."""


@contextmanager
def held(storage: Path) -> Iterator[None]:
    """Hold the study for this process alone: a running trial that is found in it must then be one that was cut short.

    The lock is a transaction on a file beside the study; it ends with the process, however that ends.
    """
    storage.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(storage.with_name(storage.name + ".lock"), timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        remedy = "Wait for it to end, or choose another --out."
        raise UserError(
            f"study '{storage}'", expected="one that nobody uses", found="a search at work", remedy=remedy
        ) from error
    try:
        yield
    finally:
        connection.close()


@contextmanager
def opened(storage: Path, objectives: Sequence[Objective], prune: bool) -> Iterator[Study]:
    """Open the study, making it where there is none; Optuna keeps quiet meanwhile."""
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("optuna", "tune", "a search") from error
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = None
    try:
        kept = optuna.storages.RDBStorage(f"sqlite:///{storage}", engine_kwargs={"connect_args": {"timeout": 60}})
        yield optuna.create_study(
            study_name=_NAME,
            storage=kept,
            load_if_exists=True,
            directions=["maximize" if objective.higher_is_better else "minimize" for objective in objectives],
            pruner=optuna.pruners.MedianPruner(_STARTUP, _WARMUP) if prune else optuna.pruners.NopPruner(),
        )
    finally:
        optuna.logging.set_verbosity(before)
        if kept is not None:
            kept.remove_session()
            kept.engine.dispose()


def take_up(study: Study, fingerprint: str, storage: Path) -> None:
    """Refuse a study of another search, and mark the trials that were cut short as failed."""
    from optuna.trial import TrialState as State

    known = study.user_attrs.get("fingerprint")
    if known not in (None, fingerprint):
        expected, found = "one of this declaration, these ranges, objectives and seed", "one of others"
        remedy = "Choose another --out, or go back to what it was begun with."
        raise UserError(f"study '{storage}'", expected=expected, found=found, remedy=remedy)
    study.set_user_attr("fingerprint", fingerprint)
    for trial in study.get_trials(deepcopy=False, states=(State.RUNNING,)):
        study.tell(trial.number, state=State.FAIL)


def fingerprint(spec: Recommender, ranges: Mapping[str, Range], objectives: Sequence[Objective], seed: int) -> str:
    """Return the hash of what a study is about."""
    told: list[Any] = [spec.replace(search={}).model_dump(mode="json")]
    told += [{path: own.model_dump(mode="json") for path, own in sorted(ranges.items())}, [o.name for o in objectives], seed]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def counted(study: Study) -> list[FrozenTrial]:
    """Return the trials that count: all but those that were cut short."""
    return [trial for trial in study.get_trials(deepcopy=False) if _state(trial) != "interrupted"]


def records(study: Study) -> list[TrialRecord]:
    """Return the trials that ended, in the order in which they were begun."""
    return [_record(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _record(trial: FrozenTrial) -> TrialRecord:
    state, told = _state(trial), trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=state,
        parameters=told.get("parameters", {}),
        values=list(trial.values) if state == "complete" else None,
        curve=[value for _, value in sorted(trial.intermediate_values.items())],
        epochs=told.get("epochs", 0),
        best_epoch=told.get("best_epoch"),
        seconds=told.get("seconds", 0.0),
        error=told.get("error"),
    )


def _state(trial: FrozenTrial) -> TrialState:
    """Return how a trial ended; one that still runs counts as complete."""
    if trial.state.name == "FAIL":
        return "failed" if "error" in trial.user_attrs else "interrupted"
    return "pruned" if trial.state.name == "PRUNED" else "complete"
