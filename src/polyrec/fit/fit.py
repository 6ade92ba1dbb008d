"""The steps from a declaration and a table to a fitted predictor."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.artifact.card import write_card
from polyrec.artifact.facts import Facts, TrainingFacts
from polyrec.artifact.parts import Parts, start_hash
from polyrec.calibration.calibrator import calibrated
from polyrec.core.errors import UserError
from polyrec.core.version import __version__
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.declaration.declaration import Declaration
from polyrec.declaration.training import Training
from polyrec.fit.calibrate import calibrate
from polyrec.fit.judge import Judge
from polyrec.fit.start import check_start, take_over
from polyrec.fit.validation_ranking import ValidationRanking
from polyrec.fusion.fusion import State
from polyrec.model.model import Model
from polyrec.model.objective import Objective
from polyrec.predict.outputs import Pass, TaskTensors, predict, rows_of_nothing
from polyrec.predict.predictor import Predictor
from polyrec.prepare.stage import Stage
from polyrec.prepare.stages import Stages
from polyrec.train.loop import OnEpoch, Run, train


def fit(
    spec: Declaration,
    data: Source | Tables,
    validation: Source | None,
    training: Training,
    *,
    start: Predictor | None = None,
    checkpoint: Path | None,
    resume: bool,
    progress: bool,
    on_epoch: OnEpoch | None = None,
) -> Predictor:
    """Fit a declaration to a table; see `Recommender.fit`."""
    _refuse_refit(spec, training)
    if start is not None:
        check_start(_pinned(spec), start.spec)
    stages = Stages(spec, data, validation, training, start=None if start is None else start.parts)
    stage = stages.selection()
    assert stage.data is not None
    start_hashes = [] if start is None else [start_hash(start.parts)]
    fingerprint = _fingerprint(spec, training, stage.data.sha256, stage.data.validation_sha256, *start_hashes)
    folder = _inside(checkpoint, "selection")
    first = _learn(spec, stage, training, fingerprint, folder, resume, progress, "training", start=start, on_epoch=on_epoch)
    predictions, truths = _held_out(spec, first)
    calibration_states, calibration = calibrate(spec.tasks, spec.calibration, predictions, truths, training.seed)
    calibrated_predictions = calibrated(spec.calibration, calibration_states, predictions)
    fusion_states = _learn_fusion(spec, first, TaskTensors(calibrated_predictions, predictions.context), truths)
    final = first
    if training.refit and not resume and checkpoint is not None:
        shutil.rmtree(checkpoint / "refit", ignore_errors=True)
    if training.refit:
        folder, best = _inside(checkpoint, "refit"), first.run.best_epoch
        rows = stages.all_rows()
        final = _learn(spec, rows, training, fingerprint, folder, resume, progress, "refitting", start=start, stop_after=best)
    assert stage.data is not None and stage.frames is not None
    facts = Facts(
        versions=_versions(),
        data=replace(stage.data, training_rows=final.stage.rows.rows),
        observed=dict(final.stage.observed),
        calibration=calibration,
        features=_described(spec, final.stage.features),
        training=TrainingFacts(
            spec=training.model_dump(mode="json"),
            curves=first.run.curves,
            best_epoch=first.run.best_epoch,
            validation=first.run.curves[first.run.best_epoch - 1],
            parameters=sum(parameter.numel() for parameter in first.model.parameters()),
            start=start_hashes[0] if start_hashes else None,
        ),
    )
    parts = Parts(
        spec=_pinned(spec),
        feature_states=final.stage.features,
        task_states=final.stage.tasks,
        calibration_states=calibration_states,
        frames=stage.frames,
        weights=dict(final.model.state_dict()),
        facts=facts,
        card=write_card(spec, facts),
        fusion_states=fusion_states,
    )
    return Predictor(parts, final.model)


@dataclass(frozen=True)
class _Learned:
    model: Model
    stage: Stage
    judge: Judge | None
    run: Run


def _learn(
    spec: Declaration,
    stage: Stage,
    training: Training,
    fingerprint: str,
    checkpoint: Path | None,
    resume: bool,
    progress: bool,
    title: str,
    *,
    start: Predictor | None = None,
    stop_after: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> _Learned:
    """Build the model of a stage, initialise it with the weights of `start` if given, and train it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = Model(spec.all_features, stage.features, spec.tasks, stage.tasks, spec.network, spec.views)
        if start is not None:
            take_over(model, spec, stage.features, start)
        balance = spec.balancing.build([task.name for task in spec.tasks])
    judge = None
    if stage.held is not None:
        users = None if stage.users is None else stage.users.numpy()
        items = None if stage.frames is None else stage.frames.items
        needs_ranking = any(term.endswith("@10") for term in (*training.utility, *training.watch))
        ranking = None
        if needs_ranking and items is not None:
            ranking = ValidationRanking(spec, stage.features, items, stage.held)
        judge = Judge(spec, stage.tasks, stage.held, users, training.utility, training.watch, ranking)
    run = train(
        model,
        Objective(spec.tasks),
        balance,
        stage.rows,
        training,
        judge,
        fingerprint=fingerprint,
        checkpoint_folder=checkpoint,
        resume=resume,
        stop_after=stop_after,
        on_epoch=on_epoch,
        title=title,
        progress=progress,
    )
    return _Learned(model, stage, judge, run)


def _held_out(spec: Declaration, learned: _Learned) -> tuple[TaskTensors, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return predictions and labels of the validation rows, or nothing if neither calibration nor fusion learns from them.

    If the model is later refitted on all rows, calibrators and fusion keep the states learned here, from the model that has not
    seen these rows.
    """
    if not (spec.calibration or spec.fusion.learns):
        return TaskTensors({}), {}
    assert learned.judge is not None
    held = learned.judge.prepared
    truths = {}
    for task in spec.tasks:
        mask = held.masks[task.name]
        truths[task.name] = mask.numpy(), task.truth(held.targets[task.name][mask], learned.stage.tasks[task.name]).numpy()
    return predict(learned.model, spec, learned.stage.tasks, held), truths


def _learn_fusion(
    spec: Declaration, learned: _Learned, predictions: TaskTensors, truths: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> State:
    """Return the state that the fusion learns from calibrated predictions and, by task, masks and observed labels."""
    if not spec.fusion.learns:
        return {}
    scalar = [task for task in spec.tasks if task.is_scalar]
    labels = {}
    for task in scalar:
        mask, label = truths[task.name]
        if label.ndim == 1:
            label_N = np.zeros(len(mask))
            label_N[mask] = label
            labels[task.name] = torch.from_numpy(mask), torch.from_numpy(label_N)
    probabilities = [task.name for task in scalar if "log_loss" in task.metrics]
    context = replace(predictions.context, unknown=_unknown(spec, learned))
    return spec.fusion.fit({task.name: predictions[task.name] for task in scalar}, labels, probabilities, context)


def _unknown(spec: Declaration, learned: _Learned) -> Mapping[str, Tensor]:
    """Return the vectors of the features that the fusion reads, for a row of which every value is missing."""
    if not spec.fusion.features_of():
        return {}
    stage = learned.stage
    assert stage.frames is not None and stage.data is not None
    batch = rows_of_nothing(spec, stage.features, stage.frames, stage.data.roles.user, 1)
    with torch.inference_mode():
        return Pass(learned.model, spec)(batch).context.features


def _refuse_refit(spec: Declaration, training: Training) -> None:
    """Refuse `refit` if the fusion depends on vectors of the model, since refitting changes them."""
    if training.refit and (spec.fusion.features_of() or spec.fusion.states_of([task.name for task in spec.tasks])):
        thing = f"the fusion {type(spec.fusion).__name__}, which reads vectors of the model that it learned from"
        remedy = "Set `refit` to False, or choose a fusion that reads predictions alone."
        raise UserError(thing, expected="the model that validation judged", found="training with `refit`", remedy=remedy)


def _fingerprint(spec: Declaration, training: Training, *hashes: str) -> str:
    settings = json.dumps([spec.model_dump(mode="json"), training.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256("\n".join([settings, *hashes]).encode()).hexdigest()


def _described(spec: Declaration, states: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    """Return figures about the learned states of features, for features that report any."""
    figures = {feature.name: feature.describe(states[feature.name]) for feature in spec.all_features if feature.name in states}
    return {name: values for name, values in figures.items() if values}


def _pinned(spec: Declaration) -> Declaration:
    """Return the declaration with its text encoders pinned to their present versions, such as the commit of a named model."""
    sides = {side: tuple(feature.pinned() for feature in getattr(spec, side)) for side in ("user", "item", "features")}
    return spec if all(getattr(spec, side) == pinned for side, pinned in sides.items()) else spec.replace(**sides)


def _inside(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def _versions() -> dict[str, Any]:
    return {
        "polyrec": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "polars": pl.__version__,
        "platform": sys.platform,
    }
