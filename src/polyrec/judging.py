"""Judging: the metrics of a model on validation rows, and of a fitted recommender on a test table."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track

from polyrec.catalogue import BATCH
from polyrec.core.errors import UserError, nearest
from polyrec.data.expressions import evaluate as evaluate_sql
from polyrec.data.expressions import require_columns
from polyrec.data.labels import has_label, read_labels
from polyrec.data.prepared import Prepared
from polyrec.evaluate.bootstrap import interval, mean_interval
from polyrec.evaluate.metrics import METRICS
from polyrec.evaluate.observed import Observed
from polyrec.evaluate.ranking import coverage, ranking_values
from polyrec.evaluate.report import Evaluation, Slice
from polyrec.model import Model
from polyrec.tasks.binary import Binary
from polyrec.tasks.task import Task

if TYPE_CHECKING:
    from polyrec.fitted import Fitted
    from polyrec.recommender import Recommender

SKILL = "skill"
"""Share of the loss of the best constant that a model saves: 1 is perfect, 0 is no better than a constant."""

_MOST_SLICES = 20

_MANY_USERS = 100


class Judge:
    """Judges a model on validation rows after every epoch: the first metric and the skill of each task, and the utility."""

    def __init__(
        self,
        spec: Recommender,
        states: Mapping[str, pl.DataFrame],
        prepared: Prepared,
        users: np.ndarray | None,
        utility: Mapping[str, float],
    ) -> None:
        self.spec, self.states, self.prepared, self.users = spec, states, prepared, users
        wanted = {task.name: [task.metrics[0]] for task in spec.tasks}
        known = [f"{task.name}.{metric}" for task in spec.tasks for metric in (SKILL, *task.metrics)]
        for term in utility:
            if term not in known:
                raise UserError(
                    f"utility {term!r}", expected="task.metric", found="none of that name", remedy=nearest(term, known)
                )
            name, metric = term.split(".", 1)
            if metric != SKILL and metric not in wanted[name]:
                wanted[name].append(metric)
        self.wanted, self.utility = wanted, dict(utility)
        self.constants = {}
        for task in spec.tasks:
            targets = prepared.targets[task.name][prepared.masks[task.name]]
            if len(targets) and bool((targets != targets[0]).any()):
                raw = task.constant(targets)
                self.constants[task.name] = float(task.loss(raw.expand(len(targets), *raw.shape[1:]), targets).mean())
        if not self.constants:
            remedy = "Give a validation table with labels, or another split."
            found = "none, or one value throughout, for every task"
            raise UserError("validation", expected="observed labels of several values", found=found, remedy=remedy)

    def __call__(self, model: Model) -> dict[str, float]:
        """Return `task.metric` and `task.skill` for every task whose validation labels differ, and `utility`."""
        raws: dict[str, list[torch.Tensor]] = {task.name: [] for task in self.spec.tasks}
        with torch.inference_mode():
            for batch in self.prepared.batches(BATCH):
                for name, raw in model(batch).items():
                    raws[name].append(raw)
        found: dict[str, float] = {}
        for task in self.spec.tasks:
            if task.name not in self.constants:
                continue
            mask = self.prepared.masks[task.name]
            raw, target = torch.cat(raws[task.name])[mask], self.prepared.targets[task.name][mask]
            loss = float(task.loss(raw, target).mean())
            observed = _observe(task, self.states[task.name], raw, target, self.users, mask)
            for metric in self.wanted[task.name]:
                found[f"{task.name}.{metric}"] = METRICS[metric](observed)
            found[f"{task.name}.{SKILL}"] = 1 - loss / self.constants[task.name]
        terms = self.utility or {f"{name}.{SKILL}": 1 / len(self.constants) for name in self.constants}
        found["utility"] = sum(weight * found.get(term, float("nan")) for term, weight in terms.items())
        return found


def _observe(
    task: Task, state: pl.DataFrame, raw: torch.Tensor, target: torch.Tensor, users: np.ndarray | None, mask: torch.Tensor
) -> Observed:
    """Return the task's predictions and labels, both in the label's units."""
    prediction = task.predict(raw, state).numpy()
    truth = task.truth(target, state).numpy()
    return Observed(prediction, truth, None if users is None else users[mask.numpy()])


def judge(
    fitted: Fitted, frame: pl.DataFrame, *, slices: Sequence[str], resamples: int, ranking: bool, ks: Sequence[int], seed: int
) -> Evaluation:
    """Do what `Fitted.evaluate` says."""
    require_columns(frame, slices, "a slice")
    tasks = [task for task in fitted.spec.tasks if has_label(frame, task)]
    if not tasks:
        found = "the columns of none"
        raise UserError("evaluation", expected="the label of a task", found=found, remedy="Give rows with labels.")
    observed: dict[str, Observed] = {}
    masks: dict[str, np.ndarray] = {}
    predictions = fitted.predict_tensors(frame)
    users = number_groups(frame[fitted.roles.user]) if fitted.roles.user in frame.columns else None
    for task in tasks:
        mask, truth = read_truth(frame, task, fitted.parts.task_states[task.name])
        masks[task.name] = mask
        group = None if users is None else users[mask]
        observed[task.name] = Observed(predictions[task.name].numpy()[mask], truth, group)
    values = {task.name: _metrics(task, observed[task.name]) for task in tasks}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    if resamples:
        for task in tasks:
            own = observed[task.name]
            intervals[task.name] = {name: interval(METRICS[name], own, resamples, seed) for name in values[task.name]}
    fusion: dict[str, float] = {}
    if ranking and fitted.can_rank:
        fusion, per_user = _rank(fitted, frame, ks)
        if resamples and per_user:
            intervals["fusion"] = {name: mean_interval(own, resamples, seed) for name, own in per_user.items()}
    return Evaluation(
        tasks=values,
        fusion=fusion,
        rows=frame.height,
        observed={name: len(own.target) for name, own in observed.items()},
        intervals=intervals,
        slices={column: _slices(frame[column], tasks, observed, masks) for column in slices},
    )


def read_truth(frame: pl.DataFrame, task: Task, state: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return in which rows a task's label was observed, and those labels in the units of its predictions."""
    labels = read_labels(frame, task)
    mask = task.observed(labels, state)
    return mask.numpy(), task.truth(task.targets(labels, state)[mask], state).numpy()


def _metrics(task: Task, observed: Observed) -> dict[str, float]:
    values = {name: METRICS[name](observed) for name in task.metrics}
    return {name: value for name, value in values.items() if name != "gauc" or observed.group is not None}


def _slices(
    column: pl.Series, tasks: Sequence[Task], observed: Mapping[str, Observed], masks: Mapping[str, np.ndarray]
) -> tuple[Slice, ...]:
    """Judge the most frequent values of a column apart, the most frequent first."""
    values = column.cast(pl.String).fill_null("null")
    counts = values.alias("value").value_counts(name="rows").sort(["rows", "value"], descending=[True, False])
    found = []
    for value, rows in counts.head(_MOST_SLICES).iter_rows():
        own = (values == value).to_numpy()
        cut = {task.name: observed[task.name].take(own[masks[task.name]]) for task in tasks}
        found.append(Slice(value, rows, {task.name: _metrics(task, cut[task.name]) for task in tasks}))
    return tuple(found)


def _rank(fitted: Fitted, frame: pl.DataFrame, ks: Sequence[int]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Rank the catalogue for every user who has a relevant item among the rows."""
    user, item = fitted.user_key, fitted.item_key
    require_columns(frame, (user, item), "the ranking")
    numbers = fitted.items.select(item).with_row_index("number")
    relevant = frame.filter(_relevant(fitted, frame)).select(user, item).drop_nulls().unique(maintain_order=True)
    relevant = relevant.join(fitted.seen_pairs(), on=[user, item], how="anti", maintain_order="left")
    pairs = relevant.join(numbers, on=item, how="left", maintain_order="left")
    if pairs.height == 0:
        return {}, {}
    people = pairs[user].unique(maintain_order=True)
    places = pl.DataFrame({user: people}).with_row_index("place")
    user_R = pairs.join(places, on=user, how="left", maintain_order="left")["place"].to_numpy()
    item_R = pairs["number"].fill_null(fitted.items.height).to_numpy()
    ranked_UK = np.full((len(people), max(ks)), -1)
    for place, person in enumerate(_shown(people, "ranking the catalogue")):
        top = fitted.top_rows(person, max(ks))
        ranked_UK[place, : len(top)] = top
    per_user = ranking_values(ranked_UK, user_R, item_R, ks)
    means = {name: float(values.mean()) for name, values in per_user.items()}
    return means | {f"coverage@{k}": coverage(ranked_UK, fitted.items.height, k) for k in ks}, per_user


def _shown(people: pl.Series, title: str) -> Iterable[object]:
    """Go through the users with a bar on standard error, where there are enough of them to wait for."""
    console = Console(file=sys.stderr)
    return track(people.to_list(), title, console=console, transient=True, disable=len(people) < _MANY_USERS)


def _relevant(fitted: Fitted, frame: pl.DataFrame) -> pl.Series:
    condition = fitted.spec.relevant
    if condition is not None:
        return evaluate_sql(frame, condition, "condition `relevant`").cast(pl.Boolean).fill_null(False)
    for task in fitted.spec.tasks:
        if isinstance(task, Binary) and has_label(frame, task):
            return read_labels(frame, task).cast(pl.Boolean).fill_null(False)
    return pl.Series(np.ones(frame.height, dtype=bool))


def number_groups(series: pl.Series) -> np.ndarray:
    """Return a number for each distinct value, null included."""
    return series.rank("dense").fill_null(0).to_numpy().astype(np.int64)
