"""Evaluation of a fitted recommender on a labelled table: task metrics, rankings, intervals, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from polyrec.core.errors import UserError
from polyrec.core.names import SCORE
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.labels import has_label
from polyrec.evaluate.bootstrap import interval, mean_interval
from polyrec.evaluate.catalogue_lists import ListFigures, describe_lists
from polyrec.evaluate.catalogue_ranking import rank_catalogue
from polyrec.evaluate.evaluation import Evaluation, Slice
from polyrec.evaluate.fusion_cost import Cost, fusion_cost
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.spaces import metric_of
from polyrec.evaluate.observing import Judged, Spaces
from polyrec.predict.predictor import Predictor
from polyrec.tasks.task import Task

_MOST_SLICES = 20


def judge(
    fitted: Predictor,
    frame: pl.DataFrame,
    *,
    slices: Sequence[str],
    resamples: int,
    ranking: bool,
    ks: Sequence[int],
    exposure: Sequence[str],
    seed: int,
) -> Evaluation:
    """Return the evaluation of a predictor; `Fitted.evaluate` documents the parameters."""
    require_columns(frame, slices, "a slice")
    is_ranked = bool(ranking and ks and fitted.can_rank)
    if exposure:
        require_columns(fitted.items, exposure, "`exposure` of the catalogue")
    if not any(has_label(frame, task) for task in fitted.spec.tasks):
        remedy = "Pass rows with the columns of a label."
        raise UserError("evaluation", expected="the label of a task", found="no label", remedy=remedy)
    judged = Judged.of(fitted, frame)
    observed = judged.spaces()
    tasks = [task for task in fitted.spec.tasks if task.name in observed]
    values = {task.name: _metrics(task, observed[task.name]) for task in tasks}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    for task in tasks if resamples else ():
        intervals[task.name] = {
            name: interval(metric_of(name), observed[task.name][ending], resamples, seed)
            for ending in observed[task.name]
            for name in values[task.name]
            if name.endswith(ending)
        }
    fusion: dict[str, float] = {}
    lists = ListFigures({}, {}, {})
    for name, ranked in (rank_catalogue(fitted, frame, ks) if is_ranked else {}).items():
        bounds = _bounds(ranked.per_user, resamples, seed)
        if name == SCORE:
            fusion, lists = ranked.means, describe_lists(fitted, ranked, ks, exposure)
            intervals |= {"fusion": bounds, "beyond_accuracy": _bounds(lists.per_user, resamples, seed)} if resamples else {}
        else:
            values[name] |= ranked.means
            if resamples:
                intervals[name] |= bounds
    rows = {task.name: next(iter(observed[task.name].values())) for task in tasks}
    return Evaluation(
        tasks=values,
        fusion=fusion,
        rows=frame.height,
        observed={name: len(observations.target) for name, observations in rows.items()},
        intervals=intervals,
        beyond_accuracy=lists.means,
        exposure=lists.exposure,
        fusion_cost=_fusion_costs(fitted, frame, judged, tasks, ks, resamples, seed),
        slices={column: _slices(frame[column], tasks, judged) for column in slices},
    )


def _bounds(per_user: Mapping[str, np.ndarray], resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    return {metric: mean_interval(value_U, resamples, seed) for metric, value_U in per_user.items()} if resamples else {}


def _fusion_costs(
    fitted: Predictor, frame: pl.DataFrame, judged: Judged, tasks: Sequence[Task], ks: Sequence[int], resamples: int, seed: int
) -> dict[str, dict[str, Cost]]:
    """Return the cost of the fusion by task, for tasks with one prediction and one label per row; empty without users."""
    scalar = [task for task in tasks if task.is_scalar]
    if judged.users is None or not scalar:
        return {}
    predictions = fitted.tabulate(frame, fitted.predict_tensors(frame, judged.raw))
    costs = {}
    for task in scalar:
        mask_N = judged.masks[task.name]
        truth = task.truth(judged.targets[task.name][mask_N], fitted.parts.task_states[task.name]).numpy()
        if len(truth) and truth.ndim == 1:
            kept = mask_N.numpy()
            score, prediction = (predictions[name].to_numpy()[kept] for name in (SCORE, task.name))
            costs[task.name] = fusion_cost(score, prediction, truth, judged.users[kept], ks, resamples, seed)
    return costs


def _metrics(task: Task, spaces: Spaces) -> dict[str, float]:
    """Return the metrics of a task in each sample space; GAUC only if there are groups."""
    return {
        name + ending: METRICS[name](observed)
        for ending, observed in spaces.items()
        for name in task.metrics
        if name in METRICS and (name != "gauc" or observed.group is not None)
    }


def _slices(column: pl.Series, tasks: Sequence[Task], judged: Judged) -> tuple[Slice, ...]:
    """Return the metrics for each of the most frequent values of a column, the most frequent first."""
    values = column.cast(pl.String).fill_null("null")
    counts = values.alias("value").value_counts(name="rows").sort(["rows", "value"], descending=[True, False])
    slices = []
    for value, rows in counts.head(_MOST_SLICES).iter_rows():
        observed = judged.among((values == value).to_numpy()).spaces()
        slices.append(Slice(value, rows, {task.name: _metrics(task, observed[task.name]) for task in tasks}))
    return tuple(slices)
