"""Multi-task against single-task models of equal budget and against predictions without a model, on the same test rows."""

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
from polyrec.evaluate.observing import read_truth
from polyrec.recommender import Fitted
from polyrec.tasks.task import Task

RESAMPLES = 200
"""Bootstrap resamples of an interval."""


@dataclass(frozen=True)
class Comparison:
    """One metric of one task: the three ways to predict it, and multi-task minus single-task."""

    task: str
    metric: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    difference: tuple[float, float, float]
    """Multi-task minus single-task: value, low, high."""

    @property
    def verdict(self) -> str:
        """Say in a word whether learning together helped on this metric, as far as these test rows can tell."""
        _, low, high = self.difference
        if low <= 0 <= high:
            return "unclear"
        return "better" if (low > 0) == METRICS[self.metric].higher_is_better else "worse"


BASELINE, SINGLE, MULTI = "no model", "single", "multi"
"""The three ways to predict: an item's mean label (its popularity) or the mean of all; a model a task; one model for all."""


def judged_by_rows(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that have metrics of rows, not only of a ranking."""
    return [task for task in tasks if not task.ranks_catalogue]


def compare(multi: Fitted, singles: Mapping[str, Fitted], train: pl.DataFrame, test: pl.DataFrame) -> list[Comparison]:
    """Compare the models on every metric of every task, over the test rows where its label was observed."""
    users = number_groups(test[multi.user_key])
    together = multi.predict_tensors(test)
    found = []
    for task in judged_by_rows(multi.spec.tasks):
        mask, target = read_truth(test, task, multi.parts.task_states[task.name])
        predictions = {
            BASELINE: _baseline(multi, task, train, test)[mask],
            SINGLE: singles[task.name].predict_tensors(test)[task.name].numpy()[mask],
            MULTI: together[task.name].numpy()[mask],
        }
        observed = {name: Observed(prediction, target, users[mask]) for name, prediction in predictions.items()}
        for metric in task.metrics:
            values = {name: METRICS[metric](own) for name, own in observed.items()}
            paired = paired_interval(METRICS[metric], observed[SINGLE], observed[MULTI], RESAMPLES, seed=0)
            intervals = {name: interval(METRICS[metric], own, RESAMPLES, seed=0) for name, own in observed.items()}
            found.append(Comparison(task.name, metric, values, intervals, (values[MULTI] - values[SINGLE], *paired)))
    return found


def _baseline(multi: Fitted, task: Task, train: pl.DataFrame, test: pl.DataFrame) -> np.ndarray:
    """Predict the item's mean label over the training rows; for a task that may not see the item, the mean of all."""
    mask, target = read_truth(train, task, multi.parts.task_states[task.name])
    if task.inputs == "user":
        return np.broadcast_to(target.mean(0), (test.height, *target.shape[1:]))
    both = number_groups(pl.concat([train[multi.item_key], test[multi.item_key]]))
    means = item_means(target, both[: train.height][mask], int(both.max()) + 1)
    return means[both[train.height :]]


def popularity_ndcg(multi: Fitted, train: pl.DataFrame, test: pl.DataFrame, k: int) -> float:
    """Return NDCG@k of ranking the catalogue for everybody by the number of training likes, seen items left out."""
    from polyrec.evaluate.metrics.ranking import ranking_values

    user, item, like = multi.user_key, multi.item_key, multi.spec.tasks[0]
    counts = train.filter(read_labels(train, like).cast(pl.Boolean)).group_by(item).len()
    order = multi.items.select(item).join(counts, on=item, how="left").sort("len", descending=True, nulls_last=True)[item]
    seen = train.group_by(user).agg(pl.col(item).alias("seen"))
    liked = test.filter(read_labels(test, like).cast(pl.Boolean)).select(user, item).unique(maintain_order=True)
    liked = liked.join(multi.seen_pairs(), on=[user, item], how="anti", maintain_order="left")
    people = liked.group_by(user, maintain_order=True).agg(item).join(seen, on=user, how="left", maintain_order="left")
    ranked_UK = np.full((people.height, k), -1)
    for place, known in enumerate(people["seen"]):
        own = set() if known is None else set(known)
        top = [value for value in order.head(k + len(own)) if value not in own][:k]
        ranked_UK[place, : len(top)] = top
    pairs = people.with_row_index("place").select("place", item).explode(item)
    values = ranking_values(ranked_UK, pairs["place"].to_numpy(), pairs[item].to_numpy(), (k,))
    return float(values[f"ndcg@{k}"].mean())
