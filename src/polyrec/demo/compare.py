"""Multi-task and single-task models of equal budget, and predictions without a model, on the same test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from polyrec.data.keys import number_groups
from polyrec.data.labels import read_labels
from polyrec.evaluate.baselines import item_means
from polyrec.evaluate.bootstrap import interval, paired_interval
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.ranking import ranking_values
from polyrec.evaluate.observing import read_truth
from polyrec.recommender import Fitted
from polyrec.tasks.task import Task

RESAMPLES = 200
"""Number of bootstrap resamples of an interval."""


@dataclass(frozen=True)
class Comparison:
    """One metric of one task for the three ways to predict."""

    task: str
    """Name of the task."""
    metric: str
    """Name of the metric."""
    values: Mapping[str, float]
    """Value by way to predict."""
    intervals: Mapping[str, tuple[float, float]]
    """Interval (low, high) by way to predict."""
    difference: tuple[float, float, float]
    """Multi-task minus single-task: (value, low, high)."""

    @property
    def verdict(self) -> str:
        """Whether learning together helps: `better`, `worse`, or `unclear` if the interval includes zero."""
        _, low, high = self.difference
        if low <= 0 <= high:
            return "unclear"
        return "better" if (low > 0) == METRICS[self.metric].higher_is_better else "worse"


BASELINE, SINGLE, MULTI = "no model", "single", "multi"
"""The ways to predict: mean label of the item (its popularity) or of all rows; a model per task; a model for all tasks."""


def judged_by_rows(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that are not judged only by ranking the catalogue."""
    return [task for task in tasks if not task.ranks_catalogue]


def compare(multi: Fitted, singles: Mapping[str, Fitted], train: pl.DataFrame, test: pl.DataFrame) -> list[Comparison]:
    """Compare the models on every metric of every task, over the test rows with an observed label."""
    users = number_groups(test[multi.user_key])
    together = multi.predict_tensors(test)
    comparisons = []
    for task in judged_by_rows(multi.spec.tasks):
        mask, target = read_truth(test, task, multi.parts.task_states[task.name])
        predictions = {
            BASELINE: _baseline(multi, task, train, test)[mask],
            SINGLE: singles[task.name].predict_tensors(test)[task.name].numpy()[mask],
            MULTI: together[task.name].numpy()[mask],
        }
        observed = {name: Observed(prediction, target, users[mask]) for name, prediction in predictions.items()}
        for metric in task.metrics:
            values = {name: METRICS[metric](labels) for name, labels in observed.items()}
            paired = paired_interval(METRICS[metric], observed[SINGLE], observed[MULTI], RESAMPLES, seed=0)
            intervals = {name: interval(METRICS[metric], labels, RESAMPLES, seed=0) for name, labels in observed.items()}
            comparisons.append(Comparison(task.name, metric, values, intervals, (values[MULTI] - values[SINGLE], *paired)))
    return comparisons


def _baseline(multi: Fitted, task: Task, train: pl.DataFrame, test: pl.DataFrame) -> np.ndarray:
    """Predict the mean label of the item over the training rows, or of all rows for a task that does not see the item."""
    mask, target = read_truth(train, task, multi.parts.task_states[task.name])
    if task.inputs == "user":
        return np.broadcast_to(target.mean(0), (test.height, *target.shape[1:]))
    both = number_groups(pl.concat([train[multi.item_key], test[multi.item_key]]))
    means = item_means(target, both[: train.height][mask], int(both.max()) + 1)
    return means[both[train.height :]]


def popularity_ndcg(multi: Fitted, train: pl.DataFrame, test: pl.DataFrame, k: int) -> float:
    """Return NDCG@k of ranking the catalogue by number of likes among the training rows, without the user's seen items."""
    user, item, like = multi.user_key, multi.item_key, multi.spec.tasks[0]
    counts = train.filter(read_labels(train, like).cast(pl.Boolean)).group_by(item).len()
    order = multi.items.select(item).join(counts, on=item, how="left").sort("len", descending=True, nulls_last=True)[item]
    seen = train.group_by(user).agg(pl.col(item).alias("seen"))
    liked = test.filter(read_labels(test, like).cast(pl.Boolean)).select(user, item).unique(maintain_order=True)
    liked = liked.join(multi.seen_pairs(), on=[user, item], how="anti", maintain_order="left")
    people = liked.group_by(user, maintain_order=True).agg(item).join(seen, on=user, how="left", maintain_order="left")
    ranked_UK = np.full((people.height, k), -1)
    for place, items in enumerate(people["seen"]):
        excluded = set() if items is None else set(items)
        top = [value for value in order.head(k + len(excluded)) if value not in excluded][:k]
        ranked_UK[place, : len(top)] = top
    pairs = people.with_row_index("place").select("place", item).explode(item)
    values = ranking_values(ranked_UK, pairs["place"].to_numpy(), pairs[item].to_numpy(), (k,))
    return float(values[f"ndcg@{k}"].mean())
