"""One fit of a text report, judged on every slice of the test rows; its folder stores the result for later calls.

Shape letters: N rows, U users.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
"""Name in place of a task for figures of the fused score."""

Key = tuple[str, str]
"""Name of a slice and name of a task."""


@dataclass(frozen=True)
class TextFit:
    """Predictions and rankings of one fit on the test rows."""

    observed: Mapping[Key, Observed]
    """Predictions and labels by slice, for tasks with metrics on rows."""
    ranked: Mapping[Key, np.ndarray]
    """Ranking metric of each user, (U,), for tasks that rank the catalogue and for the fused score."""
    utility: float
    """Utility on the validation rows at the best epoch."""


def fit_once(spec: Recommender, rows: TextRows, runs: Path, users: int) -> tuple[TextFit, bool]:
    """Fit and judge, or read the stored result; also return whether the fit is new."""
    folder = runs / _key(spec, rows, users)
    if not folder.exists():
        _fit(spec, rows, folder, users)
        return _read(spec, folder), True
    return _read(spec, folder), False


def ranking_metric(spec: Recommender, name: str) -> str:
    """Return the metric of a ranking: the headline of the task, or ndcg@10 for the fused score."""
    return next((task.metrics[0] for task in spec.tasks if task.name == name), "ndcg@10")


def _fit(spec: Recommender, rows: TextRows, folder: Path, users: int) -> None:
    fitted = spec.fit(rows.learn, progress=False)
    arrays: dict[str, np.ndarray] = {}
    for name, frame in rows.slices.items():
        for task, spaces in observe(fitted, frame).items():
            labels = next(iter(spaces.values()))
            parts = {"prediction": labels.prediction, "target": labels.target, "group": labels.group, "cluster": labels.cluster}
            arrays |= {f"{name}/{task}/{part}": values for part, values in parts.items() if values is not None}
        if fitted.can_rank:
            for task, ranked in rank_catalogue(fitted, _of_some_users(frame, fitted.user_key, users), (10,)).items():
                title = FUSED if task == SCORE else task
                arrays[f"{name}/{title}/ranked"] = ranked.per_user[ranking_metric(spec, title)]
    training = fitted.parts.facts.training
    with replacing_folder(folder) as temporary:
        (temporary / "result.json").write_text(json.dumps({"utility": training.validation["utility"]}), encoding="utf-8")
        np.savez(temporary / "arrays.npz", **arrays)  # type: ignore[arg-type]


def _of_some_users(frame: pl.DataFrame, user: str, users: int) -> pl.DataFrame:
    """Return the rows of at most `users` users, drawn at random, the same for every fit."""
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
        stored: dict[Key, dict[str, np.ndarray]] = {}
        for path in arrays.files:
            name, task, part = path.split("/")
            stored.setdefault((name, task), {})[part] = arrays[path]
    for key, parts in stored.items():
        if "ranked" in parts:
            ranked[key] = parts["ranked"]
        if "target" in parts and any(metric in METRICS for metric in tasks[key[1]].metrics):
            levels, cluster = tasks[key[1]].levels, parts.get("cluster")
            observed[key] = Observed(parts["prediction"], parts["target"], parts.get("group"), levels=levels, cluster=cluster)
    return TextFit(observed, ranked, json.loads((folder / "result.json").read_text(encoding="utf-8"))["utility"])


def _key(spec: Recommender, rows: TextRows, users: int) -> str:
    """Return the name of a fit: a hash of declaration, rows and versions."""
    parts = [spec.model_dump(mode="json"), rows.hashes, [*rows.slices], users, versions()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
