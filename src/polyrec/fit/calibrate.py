"""Calibration: each task's calibrator is fitted on validation rows, and its effect is measured by cross-fitting.

Shape letters: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from polyrec.artifact.facts import CalibrationFacts
from polyrec.calibration.calibrator import Calibrator, State
from polyrec.core.errors import UserError
from polyrec.evaluate.metrics.reliability import calibration_error, reliability
from polyrec.tasks.task import Task

FEWEST = 10
"""Minimum number of validation rows of each of two outcomes; a rate estimated from fewer is too uncertain."""


def calibrate(
    tasks: Sequence[Task],
    calibration: Mapping[str, Calibrator],
    predictions: Mapping[str, Tensor],
    truths: Mapping[str, tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> tuple[dict[str, State], dict[str, CalibrationFacts]]:
    """Fit the calibrators on held-out predictions and return their states and, per task, the change in calibration error.

    `truths` contains, by task, the mask of observed rows and their labels in the units of `predictions`. The figures `after`
    are cross-fitted: each half of the rows is calibrated by a calibrator fitted on the other half. The returned states are
    fitted on all rows. Raises `UserError` if a task has too few rows of two outcomes.
    """
    states: dict[str, State] = {}
    facts: dict[str, CalibrationFacts] = {}
    for task in tasks:
        if task.name not in calibration:
            continue
        calibrator = calibration[task.name]
        mask, target = truths[task.name]
        prediction = predictions[task.name].numpy()[mask]
        _require_outcomes(task, target)
        after = _cross_fitted(calibrator, prediction, target, seed)
        states[task.name] = calibrator.fit(prediction, target)
        facts[task.name] = CalibrationFacts(
            kind=type(calibrator).__name__,
            rows=len(target),
            ece_before=calibration_error(prediction, target),
            ece_after=calibration_error(after, target),
            reliability_before=reliability(prediction, target).to_dict(),
            reliability_after=reliability(after, target).to_dict(),
        )
    return states, facts


def _cross_fitted(calibrator: Calibrator, prediction: np.ndarray, target: np.ndarray, seed: int) -> np.ndarray:
    """Return the prediction of each row, calibrated by a calibrator fitted on the other half of the rows."""
    half_N = _halves(target, seed)
    after = np.empty_like(prediction)
    for half in (False, True):
        rows_N = half_N == half
        state = calibrator.fit(prediction[~rows_N], target[~rows_N])
        after[rows_N] = calibrator.apply(torch.from_numpy(prediction[rows_N]), state).numpy()
    return after


def _halves(target: np.ndarray, seed: int) -> np.ndarray:
    """Return the mask of rows in the second half, (N,); the random halves are stratified by outcome."""
    outcome_N = np.unique(target, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(target)), outcome_N))
    half_N = np.empty(len(target), dtype=bool)
    half_N[order] = np.arange(len(target)) % 2 == 1
    return half_N


def _require_outcomes(task: Task, target: np.ndarray) -> None:
    """Refuse labels without two outcomes that each occur at least `FEWEST` times."""
    if target.ndim == 2:
        counts = [int(target.sum()), int((1 - target).sum())]
    else:
        counts = sorted(np.unique(target, return_counts=True)[1].tolist(), reverse=True)[:2]
    if len(counts) < 2 or min(counts) < FEWEST:
        raise UserError(
            f"calibration of the task {task.name!r}",
            expected=f"{FEWEST} validation rows or more of each of two outcomes",
            found=f"{sum(counts)} of one outcome" if len(counts) < 2 else f"{counts[0]} and {counts[1]}",
            remedy="Give more validation rows, or leave this task's calibration out.",
        )
