"""The study on disk: a SQLite file of Optuna with all trials, from which a search can be resumed."""

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
"""Number of complete trials before pruning starts."""
_WARMUP = 1
"""Number of epochs before a trial can be pruned."""


@contextmanager
def locked(storage: Path) -> Iterator[None]:
    """Lock the study for this process; a trial that the study lists as running was then interrupted.

    The lock is a transaction on a file next to the study. It ends with the process, even if that is killed.
    """
    storage.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(storage.with_name(storage.name + ".lock"), timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        remedy = "Wait for it to end, or choose another --out."
        raise UserError(
            f"study '{storage}'", expected="one without a running search", found="a running search", remedy=remedy
        ) from error
    try:
        yield
    finally:
        connection.close()


@contextmanager
def opened(storage: Path, objectives: Sequence[Objective], prune: bool) -> Iterator[Study]:
    """Open or create the study; inside the context Optuna logs only errors."""
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("optuna", "tune", "a search") from error
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database = None
    try:
        database = optuna.storages.RDBStorage(f"sqlite:///{storage}", engine_kwargs={"connect_args": {"timeout": 60}})
        yield optuna.create_study(
            study_name=_NAME,
            storage=database,
            load_if_exists=True,
            directions=["maximize" if objective.higher_is_better else "minimize" for objective in objectives],
            pruner=optuna.pruners.MedianPruner(_STARTUP, _WARMUP) if prune else optuna.pruners.NopPruner(),
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
        if database is not None:
            database.remove_session()
            database.engine.dispose()


def resume_study(study: Study, fingerprint: str, storage: Path) -> None:
    """Raise `UserError` if the study belongs to another search; mark interrupted trials as failed."""
    from optuna.trial import TrialState as State

    stored = study.user_attrs.get("fingerprint")
    if stored not in (None, fingerprint):
        expected, found = "one of this declaration, these ranges, objectives and seed", "one of another search"
        remedy = "Choose another --out, or use the settings that it was started with."
        raise UserError(f"study '{storage}'", expected=expected, found=found, remedy=remedy)
    study.set_user_attr("fingerprint", fingerprint)
    for trial in study.get_trials(deepcopy=False, states=(State.RUNNING,)):
        study.tell(trial.number, state=State.FAIL)


def fingerprint(spec: Recommender, ranges: Mapping[str, Range], objectives: Sequence[Objective], seed: int) -> str:
    """Return the hash of everything that defines a study: declaration, ranges, objectives and seed."""
    declared = {path: values.model_dump(mode="json") for path, values in sorted(ranges.items())}
    parts: list[Any] = [spec.replace(search={}).model_dump(mode="json"), declared, [o.name for o in objectives], seed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def counted(study: Study) -> list[FrozenTrial]:
    """Return all trials except interrupted ones."""
    return [trial for trial in study.get_trials(deepcopy=False) if _state(trial) != "interrupted"]


def records(study: Study) -> list[TrialRecord]:
    """Return the finished trials in the order of their start."""
    return [_record(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _record(trial: FrozenTrial) -> TrialRecord:
    state, attributes = _state(trial), trial.user_attrs
    return TrialRecord(
        number=trial.number,
        state=state,
        parameters=attributes.get("parameters", {}),
        values=list(trial.values) if state == "complete" else None,
        curve=[value for _, value in sorted(trial.intermediate_values.items())],
        epochs=attributes.get("epochs", 0),
        best_epoch=attributes.get("best_epoch"),
        seconds=attributes.get("seconds", 0.0),
        error=attributes.get("error"),
    )


def _state(trial: FrozenTrial) -> TrialState:
    """Return the state of a trial; a running one counts as complete."""
    if trial.state.name == "FAIL":
        return "failed" if "error" in trial.user_attrs else "interrupted"
    return "pruned" if trial.state.name == "PRUNED" else "complete"
