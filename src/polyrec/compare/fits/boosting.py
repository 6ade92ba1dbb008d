"""LightGBM on the same columns and validation rows, one model per task. Shape letters: N rows, F columns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from polyrec.compare.fits.result import FitResult
from polyrec.compare.fits.tables import rows_of, whole_state
from polyrec.core.errors import UserError, missing_extra
from polyrec.evaluate.observing import read_truth
from polyrec.features.categorical import Categorical
from polyrec.features.numeric import Numeric
from polyrec.features.piecewise import Piecewise
from polyrec.recommender import Recommender
from polyrec.tasks.binary import Binary
from polyrec.tasks.regression import Regression
from polyrec.tasks.task import Task

RATE = 0.1
"""Learning rate of the first trial."""

_ROUNDS, _PATIENCE = 2000, 50


def can_boost(task: Task) -> bool:
    """Return whether LightGBM has an objective for a task."""
    return type(task) in (Binary, Regression)


def require_lightgbm() -> None:
    """Raise `ImportError` with the install command if LightGBM is missing."""
    try:
        import lightgbm  # noqa: F401
    except ImportError as error:
        raise missing_extra("lightgbm", "compare", "--boosting") from error


def boost(
    spec: Recommender, task: Task, rate: float, learn: pl.DataFrame, test: pl.DataFrame
) -> tuple[FitResult, dict[str, np.ndarray]]:
    """Fit one task by gradient boosting (Ke et al., NeurIPS 2017) with early stopping on the validation rows of the seed.

    Columns are those of the task's Categorical (as codes, split as sets), Numeric and Piecewise features. The utility is the
    skill, `1 - loss / loss of the best constant`, on the validation rows.
    """
    require_lightgbm()
    import lightgbm

    seen = frozenset[str]().union(*spec.views[task.name])
    features = [f for f in spec.all_features if f.name in seen and isinstance(f, Categorical | Numeric | Piecewise)]
    if not features:
        remedy = "Omit --boosting."
        raise UserError(f"task {task.name!r}", expected="numeric or categorical features", found="none", remedy=remedy)
    held = spec.training.split.held_out(rows_of(spec, learn), spec.training.seed)
    kept, validation = learn.filter(~held), learn.filter(held)
    states = {f.name: f.fit(kept.select(f.columns)) for f in features}
    binary = isinstance(task, Binary)
    settings = {
        "objective": "binary" if binary else "regression",
        "learning_rate": rate,
        "seed": spec.training.seed,
        "num_threads": 1,
        "deterministic": True,
        "verbosity": -1,
    }
    started = time.process_time()
    sets, truths = [], []
    for rows in (kept, validation):
        mask, truth = read_truth(rows, task, whole_state(spec, task, learn))
        categories = [place for place, f in enumerate(features) if isinstance(f, Categorical)]
        matrix_NF = _matrix(rows, features, states)[mask]
        sets.append(lightgbm.Dataset(matrix_NF, truth, categorical_feature=categories, free_raw_data=False))
        truths.append(truth.astype(float))
    stop = lightgbm.early_stopping(_PATIENCE, verbose=False)
    booster = lightgbm.train(settings, sets[0], _ROUNDS, valid_sets=[sets[1]], callbacks=[stop])
    seconds = time.process_time() - started
    loss = booster.best_score["valid_0"]["binary_logloss" if binary else "l2"]
    result = FitResult(
        utility=1 - loss / _constant_loss(truths[1], binary),
        best_epoch=booster.best_iteration,
        epochs=booster.current_iteration(),
        parameters=sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"]),
        curves=[],
        gates={},
        cpu_seconds=seconds,
    )
    prediction = np.asarray(booster.predict(_matrix(test, features, states)))
    return result, {task.name: prediction}


def _matrix(
    rows: pl.DataFrame, features: Sequence[Categorical | Numeric | Piecewise], states: Mapping[str, pl.DataFrame]
) -> np.ndarray:
    columns = []
    for feature in features:
        if isinstance(feature, Categorical):
            columns.append(feature.encode(rows.select(feature.columns), states[feature.name]).values_N.numpy().astype(float))
        else:
            columns.append(feature.numbers(rows).fill_null(float("nan")).to_numpy())
    return np.stack(columns, 1)


def _constant_loss(truth: np.ndarray, binary: bool) -> float:
    if not binary:
        return float(np.var(truth))
    rate = float(np.clip(truth.mean(), 1e-6, 1 - 1e-6))
    return float(-(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))
