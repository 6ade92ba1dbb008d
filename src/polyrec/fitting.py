"""From a declaration and a table to a `Fitted`, step by step."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

import polyrec
from polyrec.artifact import Parts
from polyrec.calibrating import calibrate
from polyrec.card import write_card
from polyrec.catalogue import predict
from polyrec.core.batch import Column
from polyrec.data.histories import TIME, USER, Log, element_columns
from polyrec.data.labels import check_learnable, fit_task, observed_labels
from polyrec.data.prepared import Items, Prepared, encode_features, encode_labels
from polyrec.data.sources import Source
from polyrec.data.tables import Joined, Tables, join
from polyrec.features.categorical import Categorical
from polyrec.features.history import History
from polyrec.features.light_gcn import LightGCN
from polyrec.fitted import Fitted
from polyrec.judging import Judge
from polyrec.model import Model
from polyrec.objective import Objective
from polyrec.observing import number_groups
from polyrec.recommender import Recommender
from polyrec.train.loop import OnEpoch, Run, train
from polyrec.train.training import Training
from polyrec.training_table import Table, concat_tables, frame_hash, read_table, split_table


def fit(
    spec: Recommender,
    data: Source | Tables,
    validation: Source | None,
    training: Training,
    *,
    checkpoint: Path | None,
    resume: bool,
    progress: bool,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Do what `Recommender.fit` says."""
    joined = join(data, Recommender.key(spec.user), Recommender.key(spec.item))
    table = read_table(spec, joined.frame)
    fit_rows, held = split_table(table, spec, data, validation, training)
    known = table if validation is None else concat_tables(fit_rows, held)
    held_hash = frame_hash(held.frame)
    fingerprint = "" if checkpoint is None else _fingerprint(spec, training, frame_hash(fit_rows.frame), held_hash)
    folder = _inside(checkpoint, "selection")
    first = _learn(spec, fit_rows, held, training, fingerprint, folder, resume, progress, "training", on_epoch=on_epoch)
    calibration_states, calibration = _calibrate(spec, first, training.seed)
    final = first
    if training.refit and not resume and checkpoint is not None:
        shutil.rmtree(checkpoint / "refit", ignore_errors=True)
    if training.refit:
        folder, best = _inside(checkpoint, "refit"), first.run.best_epoch
        final = _learn(spec, known, None, training, fingerprint, folder, resume, progress, "refitting", stop_after=best)
    facts = {
        "versions": _versions(),
        "roles": vars(table.roles),
        "clock": table.clock,
        "data": {
            "sha256": frame_hash(joined.frame),
            "validation_sha256": held_hash,
            "rows": known.frame.height,
            "training_rows": final.table.frame.height,
        },
        "observed": {name: len(observed_labels(labels)) for name, labels in final.table.labels.items()},
        "calibration": calibration,
        "training": {
            "spec": training.model_dump(mode="json"),
            "curves": first.run.curves,
            "best_epoch": first.run.best_epoch,
            "validation": first.run.curves[first.run.best_epoch - 1],
            "parameters": sum(parameter.numel() for parameter in first.model.parameters()),
        },
    }
    parts = Parts(
        spec=spec,
        feature_states=final.feature_states,
        task_states=final.task_states,
        calibration_states=calibration_states,
        frames=_frames(spec, joined, known),
        weights={name: value.clone() for name, value in final.model.state_dict().items()},
        facts=facts,
        card=write_card(spec, facts),
    )
    return Fitted(parts)


@dataclass(frozen=True)
class _Learned:
    model: Model
    feature_states: Mapping[str, pl.DataFrame]
    task_states: Mapping[str, pl.DataFrame]
    table: Table
    judge: Judge | None
    run: Run


def _learn(
    spec: Recommender,
    table: Table,
    held: Table | None,
    training: Training,
    fingerprint: str,
    checkpoint: Path | None,
    resume: bool,
    progress: bool,
    title: str,
    *,
    stop_after: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> _Learned:
    """Fit the states on a table, prepare it, build the model and train it."""
    features = fit_features(spec, table.frame)
    tasks = {}
    for task in spec.tasks:
        check_learnable(table.labels[task.name], task)
        tasks[task.name] = fit_task(task, table.labels[task.name])
    log = table.log()
    prepared = _prepare(spec, features, tasks, table, log)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        model = Model(spec.all_features, features, spec.tasks, tasks, spec.network, spec.views)
        balance = spec.balancing.build([task.name for task in spec.tasks])
    judge = None
    if held is not None:
        keys = [name for name in (USER, TIME, table.roles.item) if name is not None]
        both = log.with_rows(held.rows.hstack(held.frame), keys) if log is not None else None
        users = number_groups(held.rows[USER]) if USER in held.rows.columns else None
        judge = Judge(spec, tasks, _prepare(spec, features, tasks, held, both), users, training.utility, training.watch)
    run = train(
        model,
        Objective(spec.tasks),
        balance,
        prepared,
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
    return _Learned(model, features, tasks, table, judge, run)


def _calibrate(spec: Recommender, learned: _Learned, seed: int) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Fit the calibrators on what the model predicts for the validation rows.

    Where the model is then refitted on all rows, its calibrators stay those of the model that had not seen these rows.
    """
    if not spec.calibration:
        return {}, {}
    assert learned.judge is not None
    held = learned.judge.prepared
    truths = {}
    for task in spec.tasks:
        mask = held.masks[task.name]
        truths[task.name] = mask.numpy(), task.truth(held.targets[task.name][mask], learned.task_states[task.name]).numpy()
    predictions = predict(learned.model, spec, learned.task_states, held)
    return calibrate(spec.tasks, spec.calibration, predictions, truths, seed)


def fit_features(spec: Recommender, frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Learn the state of each feature; histories have none, and graphs take the ids that two others have numbered."""
    states = {f.name: f.fit(frame.select(f.columns)) for f in spec.all_features if not isinstance(f, History | LightGCN)}
    by_name = {feature.name: feature for feature in spec.all_features}
    for feature in spec.all_features:
        if isinstance(feature, LightGCN):
            numbers = []
            for name in (feature.of, feature.to):
                ids = by_name[name]
                assert isinstance(ids, Categorical)
                numbers.append(pl.Series(ids.encode(frame.select(ids.columns), states[name]).values_N.numpy()))
            states[feature.name] = feature.fit_edges(*numbers)
    return states


def _prepare(
    spec: Recommender,
    features: Mapping[str, pl.DataFrame],
    tasks: Mapping[str, pl.DataFrame],
    table: Table,
    log: Log | None,
) -> Prepared:
    rows = table.rows if spec.has_history else None
    columns: dict[str, Column] = encode_features(table.frame, spec.all_features, features, log, rows)
    targets, masks = encode_labels(table.labels, spec.tasks, tasks)
    groups = [group for task in spec.tasks if (group := task.group(targets[task.name])) is not None]
    group_N = groups[0].long() if groups else None
    if not any(task.uniform_negatives for task in spec.tasks):
        return Prepared(columns, targets, masks, table.frame.height, group_N)
    assert table.roles.item is not None
    rows_I = table.frame[table.roles.item].arg_unique().sort().cast(pl.Int64).to_torch()
    drawn = {task.name: task.as_negatives(targets[task.name][rows_I]) for task in spec.tasks}
    return Prepared(columns, targets, masks, table.frame.height, group_N, Items(rows_I, drawn))


def _frames(spec: Recommender, joined: Joined, table: Table) -> dict[str, pl.DataFrame]:
    """Return the frames that a fitted recommender keeps: types, log, users and items."""
    frames = {"columns": table.frame.clear()}
    by_name = {feature.name: feature for feature in spec.all_features}
    if table.roles.user is not None:
        log = table.log() or Log(table.rows.hstack(table.frame))
        kept = [name for name in (USER, TIME, table.roles.item) if name in log.frame.columns]
        for feature in spec.all_features:
            if isinstance(feature, History):
                kept += [name for name in element_columns(feature, by_name[feature.of]) if name not in kept]
        frames["log"] = log.frame.select(kept)
    order = (
        table.frame.hstack(table.rows.select(TIME)).sort(TIME, maintain_order=True)
        if TIME in table.rows.columns
        else table.frame
    )
    for name, side, given, key in (
        ("users", spec.user, joined.users, table.roles.user),
        ("items", spec.item, joined.items, table.roles.item),
    ):
        if key is not None:
            columns = list(dict.fromkeys([key, *(column for feature in side for column in feature.columns)]))
            latest = order.select(columns).drop_nulls(key).unique(subset=key, keep="last", maintain_order=True)
            if given is not None:
                latest = given.join(latest.select(key, *(c for c in columns if c not in given.columns)), on=key, how="left")
            frames[name] = latest.sort(key)
    return frames


def _fingerprint(spec: Recommender, training: Training, *hashes: str) -> str:
    told = json.dumps([spec.model_dump(mode="json"), training.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256("\n".join([told, *hashes]).encode()).hexdigest()


def _inside(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def _versions() -> dict[str, Any]:
    return {
        "polyrec": polyrec.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "polars": pl.__version__,
        "platform": sys.platform,
    }
