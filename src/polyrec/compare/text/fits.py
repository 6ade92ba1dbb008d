"""One fit of a text report, judged on every slice of the test rows; kept in a folder of its own, so that none is done twice.

Shape letters: N rows, U users.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from polyrec.compare.fits.job import versions
from polyrec.compare.text.rows import TextRows
from polyrec.core.files import replacing_folder
from polyrec.core.names import SCORE
from polyrec.evaluate.catalogue_ranking import rank_catalogue
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.observing import observe
from polyrec.recommender import Recommender

FUSED = "fused ranking"
"""Stands for a task in the figures of the fused score."""

Key = tuple[str, str]
"""Names of a slice and of a task."""


@dataclass(frozen=True)
class TextFit:
    """What a fit says of the test rows."""

    observed: Mapping[Key, Observed]
    """Predictions and labels of each slice, for the tasks with metrics of their rows."""
    ranked: Mapping[Key, np.ndarray]
    """The ranking metric of each user, (U,), for the tasks that rank the catalogue and for the fused score."""
    utility: float
    """On the validation rows of the best epoch."""


def fit_once(spec: Recommender, rows: TextRows, runs: Path, users: int) -> tuple[TextFit, bool]:
    """Fit and judge, or read what was judged before; return also whether it was done now."""
    folder = runs / _key(spec, rows, users)
    if not folder.exists():
        _fit(spec, rows, folder, users)
        return _read(spec, folder), True
    return _read(spec, folder), False


def ranking_metric(spec: Recommender, name: str) -> str:
    """Return the metric of a ranking: a task's own headline, and ndcg@10 of the fused one."""
    return next((task.metrics[0] for task in spec.tasks if task.name == name), "ndcg@10")


def _fit(spec: Recommender, rows: TextRows, folder: Path, users: int) -> None:
    fitted = spec.fit(rows.learn, progress=False)
    arrays: dict[str, np.ndarray] = {}
    for name, frame in rows.slices.items():
        for task, spaces in observe(fitted, frame).items():
            own = next(iter(spaces.values()))
            parts = {"prediction": own.prediction, "target": own.target, "group": own.group, "cluster": own.cluster}
            arrays |= {f"{name}/{task}/{part}": values for part, values in parts.items() if values is not None}
        if fitted.can_rank:
            for task, ranked in rank_catalogue(fitted, _of_some_users(frame, fitted.user_key, users), (10,)).items():
                told = FUSED if task == SCORE else task
                arrays[f"{name}/{told}/ranked"] = ranked.per_user[ranking_metric(spec, told)]
    training: dict[str, Any] = fitted.parts.facts.training
    with replacing_folder(folder) as temporary:
        (temporary / "result.json").write_text(json.dumps({"utility": training["validation"]["utility"]}), encoding="utf-8")
        np.savez(temporary / "arrays.npz", **arrays)  # type: ignore[arg-type]


def _of_some_users(frame: pl.DataFrame, user: str, users: int) -> pl.DataFrame:
    """Return the rows of at most so many users, drawn at random, the same for every fit."""
    people = frame[user].drop_nulls().unique().sort()
    if len(people) <= users:
        return frame
    drawn = people.gather(np.sort(np.random.default_rng(0).permutation(len(people))[:users]))
    return frame.filter(pl.col(user).is_in(drawn.implode()))


def _read(spec: Recommender, folder: Path) -> TextFit:
    tasks = {task.name: task for task in spec.tasks}
    observed: dict[Key, Observed] = {}
    ranked: dict[Key, np.ndarray] = {}
    with np.load(folder / "arrays.npz") as arrays:
        told: dict[Key, dict[str, np.ndarray]] = {}
        for path in arrays.files:
            name, task, part = path.split("/")
            told.setdefault((name, task), {})[part] = arrays[path]
    for key, parts in told.items():
        if "ranked" in parts:
            ranked[key] = parts["ranked"]
        if "target" in parts and any(metric in METRICS for metric in tasks[key[1]].metrics):
            own = tasks[key[1]].levels
            cluster = parts.get("cluster")
            observed[key] = Observed(parts["prediction"], parts["target"], parts.get("group"), levels=own, cluster=cluster)
    return TextFit(observed, ranked, json.loads((folder / "result.json").read_text(encoding="utf-8"))["utility"])


def _key(spec: Recommender, rows: TextRows, users: int) -> str:
    """Return the name of a fit: the same for the same declaration, rows and versions."""
    told = [spec.model_dump(mode="json"), rows.hashes, [*rows.slices], users, versions()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]
