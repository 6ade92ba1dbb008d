"""Judging: the metrics of a model on validation rows, and of a fitted recommender on a test table."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from polyrec.calibrating import calibrated
from polyrec.catalogue import raw_outputs
from polyrec.core.errors import UserError, nearest
from polyrec.core.names import SCORE
from polyrec.data.expressions import evaluate as evaluate_sql
from polyrec.data.expressions import require_columns
from polyrec.data.labels import LABEL, has_label, read_labels
from polyrec.data.prepared import Prepared, encode_labels
from polyrec.evaluate.bootstrap import interval, mean_interval
from polyrec.evaluate.metrics import METRICS
from polyrec.evaluate.observed import Observed
from polyrec.evaluate.ranking import coverage, ranking_values
from polyrec.evaluate.report import Evaluation, Slice
from polyrec.evaluate.spaces import ALL_ROWS, given, metric_of
from polyrec.model import Model
from polyrec.objective import Objective
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
        watch: Sequence[str] = (),
    ) -> None:
        self.spec, self.states, self.prepared, self.users = spec, states, prepared, users
        self.objective = Objective(spec.tasks)
        names = {task.name: metric_names(self.objective, task) for task in spec.tasks}
        wanted = {task: list(own[:1]) for task, own in names.items()}
        known = [f"{task}.{metric}" for task, own in names.items() for metric in (SKILL, *own)]
        for term in (*utility, *watch):
            if term not in known:
                thing = f"utility {term!r}" if term in utility else f"figure to watch {term!r}"
                raise UserError(thing, expected="task.metric", found="none of that name", remedy=nearest(term, known))
            name, metric = term.split(".", 1)
            if metric != SKILL and metric not in wanted[name]:
                wanted[name].append(metric)
        self.wanted, self.utility = wanted, dict(utility)
        constants = self.objective.constants(prepared.targets, prepared.masks)
        self.constants = {name: loss for name, loss in constants.items() if loss > 0}
        if not self.constants:
            remedy = "Give a validation table with labels, or another split."
            found = "none, or one value throughout, for every task"
            raise UserError("validation", expected="observed labels of several values", found=found, remedy=remedy)

    def __call__(self, model: Model) -> dict[str, float]:
        """Return `task.metric` and `task.skill` for every task whose validation labels differ, and `utility`."""
        raw = raw_outputs(model, self.spec, self.prepared)
        targets, masks = self.prepared.targets, self.prepared.masks
        losses = self.objective.mean_losses(raw, targets, masks)
        whole = self.objective.predictions(raw, self.states)
        spaces = observe_raw(self.objective, self.states, raw, whole, targets, masks, self.users)
        found: dict[str, float] = {}
        for name, constant in self.constants.items():
            for metric in self.wanted[name]:
                found[f"{name}.{metric}"] = _compute(metric, spaces[name])
            found[f"{name}.{SKILL}"] = 1 - losses[name] / constant
        terms = self.utility or {f"{name}.{SKILL}": 1 / len(self.constants) for name in self.constants}
        found["utility"] = sum(weight * found.get(term, float("nan")) for term, weight in terms.items())
        return found


def metric_names(objective: Objective, task: Task) -> tuple[str, ...]:
    """Return the names of the metrics of a task's rows, the headline first; those of rankings are not among them."""
    plain = tuple(name for name in task.metrics if name in METRICS)
    if task.name not in objective.conditional:
        return plain
    endings = (ALL_ROWS, given(objective.conditional[task.name]))
    return tuple(name + ending for ending in endings for name in plain)


Spaces = Mapping[str, Observed]
"""What was observed of a task, by the ending of its metrics' names: one sample space for most, two for a task after others."""


@dataclass(frozen=True)
class Judged:
    """What a model says of the rows of a table, and their labels, encoded."""

    raw: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    users: np.ndarray | None
    """(N,) numbers of the users, where users are declared."""
    fitted: Fitted

    @staticmethod
    def of(fitted: Fitted, frame: pl.DataFrame) -> Judged:
        """Ask a fitted recommender about a table."""
        labels = {task.name: read_labels(frame, task) for task in fitted.spec.tasks if has_label(frame, task)}
        targets, masks = encode_labels(labels, fitted.spec.tasks, fitted.parts.task_states)
        users = number_groups(frame[fitted.roles.user]) if fitted.roles.user in frame.columns else None
        return Judged(fitted.raw_tensors(frame), targets, masks, users, fitted)

    def among(self, rows_N: np.ndarray) -> Judged:
        """Return the same with only some rows counted as observed."""
        kept = torch.from_numpy(rows_N)
        return replace(self, masks={name: mask & kept for name, mask in self.masks.items()})

    def spaces(self) -> dict[str, Spaces]:
        """Return what was observed of each task that has labels, in each of its sample spaces.

        Predictions over all rows are calibrated where that is declared; those given earlier tasks never are.
        """
        fitted, objective = self.fitted, Objective(self.fitted.spec.tasks)
        whole = objective.predictions(self.raw, fitted.parts.task_states)
        whole = calibrated(fitted.spec.calibration, fitted.parts.calibration_states, whole)
        return observe_raw(objective, fitted.parts.task_states, self.raw, whole, self.targets, self.masks, self.users)


def observe(fitted: Fitted, frame: pl.DataFrame) -> dict[str, Spaces]:
    """Return predictions and labels of the rows where each task's label was observed, for the tasks that have one."""
    return Judged.of(fitted, frame).spaces()


def read_truth(frame: pl.DataFrame, task: Task, state: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return in which rows a task's label was observed, and those labels in the units of its predictions."""
    labels = read_labels(frame, task)
    mask = task.observed(labels, state)
    return mask.numpy(), task.truth(task.targets(labels, state)[mask], state).numpy()


def observe_raw(
    objective: Objective,
    states: Mapping[str, pl.DataFrame],
    raw: Mapping[str, Tensor],
    whole: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    users: np.ndarray | None,
) -> dict[str, Spaces]:
    """Do what `observe` does, from raw outputs, predictions over all rows, and encoded labels."""
    inside = objective.predictions(raw, states, given=True)
    found: dict[str, Spaces] = {}
    for task in objective.tasks:
        name = task.name
        if name not in targets:
            continue
        earlier = objective.conditional.get(name)
        spaces = {"": (whole[name], masks[name])}
        if earlier is not None and all(other in targets for other in earlier):
            happened = masks[name] & objective.happened(name, targets, masks)
            spaces = {ALL_ROWS: (whole[name], masks[name]), given(earlier): (inside[name], happened)}
        own: dict[str, Observed] = {}
        for ending, (prediction, mask) in spaces.items():
            target = targets[name][mask]
            group, people = task.group(target), None if users is None else users[mask.numpy()]
            truth = task.truth(target, states[name]).numpy()
            groups, cluster = (people, None) if group is None else (group.numpy(), people)
            own[ending] = Observed(prediction[mask].numpy(), truth, groups, levels=task.levels, cluster=cluster)
        found[name] = own
    return found


def _compute(name: str, spaces: Spaces) -> float:
    """Return a metric by its name, in the space that the name's ending says."""
    ending = next((ending for ending in spaces if ending and name.endswith(ending)), "")
    return metric_of(name)(spaces[ending]) if ending in spaces else float("nan")


def judge(
    fitted: Fitted, frame: pl.DataFrame, *, slices: Sequence[str], resamples: int, ranking: bool, ks: Sequence[int], seed: int
) -> Evaluation:
    """Do what `Fitted.evaluate` says."""
    require_columns(frame, slices, "a slice")
    if not any(has_label(frame, task) for task in fitted.spec.tasks):
        found = "the columns of none"
        raise UserError("evaluation", expected="the label of a task", found=found, remedy="Give rows with labels.")
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
    if ranking and ks and fitted.can_rank:
        for name, (means, per_user) in rank_catalogue(fitted, frame, ks).items():
            bounds = {metric: mean_interval(own, resamples, seed) for metric, own in per_user.items()} if resamples else {}
            if name == SCORE:
                fusion = means
                intervals |= {"fusion": bounds} if bounds else {}
            else:
                values[name] |= means
                if bounds:
                    intervals[name] |= bounds
    rows = {task.name: next(iter(observed[task.name].values())) for task in tasks}
    return Evaluation(
        tasks=values,
        fusion=fusion,
        rows=frame.height,
        observed={name: len(own.target) for name, own in rows.items()},
        intervals=intervals,
        slices={column: _slices(frame[column], tasks, judged) for column in slices},
    )


def _metrics(task: Task, spaces: Spaces) -> dict[str, float]:
    """Return the metrics of a task in each of its spaces; those within groups only where there are groups."""
    return {
        name + ending: METRICS[name](observed)
        for ending, observed in spaces.items()
        for name in task.metrics
        if name in METRICS and (name != "gauc" or observed.group is not None)
    }


def _slices(column: pl.Series, tasks: Sequence[Task], judged: Judged) -> tuple[Slice, ...]:
    """Judge the most frequent values of a column apart, the most frequent first."""
    values = column.cast(pl.String).fill_null("null")
    counts = values.alias("value").value_counts(name="rows").sort(["rows", "value"], descending=[True, False])
    found = []
    for value, rows in counts.head(_MOST_SLICES).iter_rows():
        observed = judged.among((values == value).to_numpy()).spaces()
        found.append(Slice(value, rows, {task.name: _metrics(task, observed[task.name]) for task in tasks}))
    return tuple(found)


def rank_catalogue(
    fitted: Fitted, frame: pl.DataFrame, ks: Sequence[int]
) -> dict[str, tuple[dict[str, float], dict[str, np.ndarray]]]:
    """Rank the catalogue for every user who has a relevant item among the rows.

    Returns, for the fused score and each task that ranks the catalogue, the means and the values by user; nothing where no
    user has a relevant item.
    """
    user, item = fitted.user_key, fitted.item_key
    require_columns(frame, (user, item), "the ranking")
    relevant = {SCORE: _pairs(fitted, frame.filter(_relevant(fitted, frame)))}
    for task in fitted.spec.tasks:
        if task.ranks_catalogue and has_label(frame, task):
            labels = read_labels(frame, task).struct.field(LABEL).cast(pl.Boolean).fill_null(False)
            relevant[task.name] = _pairs(fitted, frame.filter(labels))
    people = pl.concat([pairs[user] for pairs in relevant.values()]).unique(maintain_order=True)
    if len(people) == 0:
        return {}
    tops = {name: np.full((len(people), max(ks)), -1) for name in relevant}
    for place, person in enumerate(_shown(people, "ranking the catalogue")):
        for name, top in fitted.top_rows(person, max(ks)).items():
            if name in tops:
                tops[name][place, : len(top)] = top
    places = pl.DataFrame({user: people}).with_row_index("place")
    found = {}
    for name, pairs in relevant.items():
        if pairs.height == 0:
            continue
        place_R = pairs.join(places, on=user, how="left", maintain_order="left")["place"].to_numpy()
        own_U, user_R = np.unique(place_R, return_inverse=True)
        ranked_UK = tops[name][own_U]
        per_user = ranking_values(ranked_UK, user_R, pairs["number"].to_numpy(), ks)
        means = {metric: float(values.mean()) for metric, values in per_user.items()}
        found[name] = means | {f"coverage@{k}": coverage(ranked_UK, fitted.items.height, k) for k in ks}, per_user
    return found


def _pairs(fitted: Fitted, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct pairs of user and item that are new to the user, with the item's row in the catalogue."""
    user, item = fitted.user_key, fitted.item_key
    numbers = fitted.items.select(item).with_row_index("number")
    log, items = fitted.seen_pairs().schema, fitted.items.schema
    keys = frame.select(pl.col(user).cast(log[user], strict=False), pl.col(item).cast(items[item], strict=False))
    pairs = keys.drop_nulls().unique(maintain_order=True)
    pairs = pairs.join(fitted.seen_pairs(), on=[user, item], how="anti", maintain_order="left")
    pairs = pairs.join(numbers, on=item, how="left", maintain_order="left")
    return pairs.with_columns(pl.col("number").fill_null(fitted.items.height))


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
