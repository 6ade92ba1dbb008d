"""Search for the weights of a fusion that rank the held-out rows of users best, by a utility.

Predictions are computed once; each trial fuses them with other weights. The search uses half of the users; gains are measured
on the other half. Shape letters: N rows, U users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.core.errors import UserError, missing_extra, nearest
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.keys import number_groups
from polyrec.data.labels import has_label
from polyrec.evaluate.bootstrap import LEVEL, multiplicities
from polyrec.evaluate.metrics.lists import KINDS, ListMetric, is_list_metric
from polyrec.evaluate.observing import read_truth
from polyrec.fit.fusion_search import UTILITY, FusionSearch, FusionTrial, Gain, Sampler
from polyrec.fusion.context import Context
from polyrec.fusion.fusion import Fusion, State
from polyrec.predict.outputs import context_of
from polyrec.predict.predictor import Predictor
from polyrec.ranges.uniform import Uniform
from polyrec.tasks.task import Task

if TYPE_CHECKING:
    from optuna import Study

RESAMPLES = 1000
"""Number of bootstrap resamples of an interval."""

OnTrial = Callable[[int], None]
"""Callback that receives the number of completed trials."""


@dataclass(frozen=True)
class Candidates:
    """The rows of some users, with predictions and the metrics of their lists."""

    predictions: Mapping[str, Tensor]
    users: Tensor
    """Numbers of the users, (N,); the rows of a user are one request."""
    context: Context
    """Further inputs of the fusion."""
    metrics: Mapping[str, ListMetric]
    """By `task.metric`."""
    state: State
    """Learned state of the fusion."""

    def values(self, fusion: Fusion) -> dict[str, np.ndarray]:
        """Return each metric per user, (U,), of the lists ranked by a fusion."""
        score = fusion.score(self.predictions, self.users, self.state, self.context).numpy()
        return {name: metric.values(score) for name, metric in self.metrics.items()}

    def means(self, values: Mapping[str, np.ndarray], draws: np.ndarray | None = None) -> dict[str, float]:
        """Return the mean of each metric over users, weighted by how often each user was drawn."""
        return {name: self.metrics[name].mean(value_U, draws) for name, value_U in values.items()}


def search_fusion(
    fitted: Predictor,
    frame: pl.DataFrame,
    utility: Mapping[str, float],
    trials: int,
    sampler: Sampler,
    seed: int,
    ranges: Mapping[str, Uniform] | None = None,
    on_trial: OnTrial = lambda done: None,
) -> FusionSearch:
    """Search for the weights of a fusion; see `Fitted.tune_fusion`."""
    if trials < 1 or sampler not in get_args(Sampler):
        found = f"{trials} trials of {sampler!r}"
        remedy = f"Give a number of trials above 0, and one of {get_args(Sampler)}."
        raise UserError("the search for weights", expected="trials of a sampler", found=found, remedy=remedy)
    fusion = fitted.spec.fusion
    searched, confirmed = _halves(fitted, frame, read_utility(fitted.spec.tasks, frame, utility), seed)
    tasks = list(searched.predictions)
    spans = _ranges(fusion, searched.predictions, ranges or {})
    given = {name: value for name, value in fusion.weights_among(tasks).items() if name in spans}
    ended: list[FusionTrial] = []
    with _study(sampler, seed) as study:
        study.enqueue_trial(given)
        for number in range(trials):
            trial = study.ask()
            weights = {name: float(span.suggest(name, trial)) for name, span in spans.items()}
            means = searched.means(searched.values(fusion.with_weights(weights, tasks)))
            ended.append(FusionTrial(number, weights, means, total(means, utility)))
            study.tell(trial, ended[-1].utility)
            on_trial(number + 1)
    best = fusion.with_weights(max(ended, key=lambda trial: trial.utility).weights, tasks)
    users = len(searched.users.unique()), len(confirmed.users.unique())
    gains = _gains(confirmed, utility, fusion, best, seed)
    return FusionSearch(fusion, tasks, dict(utility), sampler, seed, ended, gains, users)


def total(means: Mapping[str, float], utility: Mapping[str, float]) -> float:
    """Return the weighted sum of metrics; metrics of weight 0 are ignored, even if NaN."""
    return sum(weight * means[term] for term, weight in utility.items() if weight != 0)


def read_utility(tasks: Sequence[Task], frame: pl.DataFrame, utility: Mapping[str, float]) -> dict[str, tuple[Task, str]]:
    """Return the task and the metric of each term.

    Raises `UserError` for a term that the table has no labels for, and if all weights are 0.
    """
    by_name = {task.name: task for task in tasks if has_label(frame, task)}
    known = [f"{name}.{kind.replace('K', '10')}" for name in by_name for kind in KINDS]
    terms = {}
    for term in utility:
        name, _, metric = term.partition(".")
        if name not in by_name or not is_list_metric(metric):
            expected = f"the name of a task with a label here and {', '.join(KINDS)}, as task.metric"
            raise UserError(f"utility {term!r}", expected=expected, found="none of that name", remedy=nearest(term, known))
        terms[term] = by_name[name], metric
    if not all(np.isfinite(weight) for weight in utility.values()) or not any(utility.values()):
        shown = ", ".join(f"{term}={weight:g}" for term, weight in utility.items()) or "none"
        remedy = 'Say what a good list is: {"like.ndcg@10": 1.0}.'
        raise UserError("the utility", expected="finite weights, one of them not 0", found=shown, remedy=remedy)
    return terms


def _halves(
    fitted: Predictor, frame: pl.DataFrame, terms: Mapping[str, tuple[Task, str]], seed: int
) -> tuple[Candidates, Candidates]:
    """Return the candidates of a random half of the users, and those of the other half."""
    require_columns(frame, (fitted.user_key,), "the users whose lists are judged")
    frame = frame.filter(pl.col(fitted.user_key).is_not_null())
    every = fitted.predict_tensors(frame)
    predictions = {task.name: every[task.name] for task in fitted.spec.tasks if task.is_scalar}
    user_N = np.unique(number_groups(frame[fitted.user_key]), return_inverse=True)[1]
    users = int(user_N.max(initial=-1)) + 1
    if users < 4:
        remedy = "Give rows of more users."
        raise UserError("a search for weights", expected="4 users or more", found=f"{users}", remedy=remedy)
    is_second_U = np.random.default_rng(seed).permutation(users) % 2 == 1
    truths = {term: read_truth(frame, task, fitted.parts.task_states[task.name]) for term, (task, _) in terms.items()}
    halves = []
    for is_in_half_U in (~is_second_U, is_second_U):
        is_in_half_N = is_in_half_U[user_N]
        number_U = np.cumsum(is_in_half_U) - 1
        metrics = {}
        for term, (task, metric) in terms.items():
            mask, label = truths[term]
            _require_numbers(task, term, metric, label)
            row = np.cumsum(is_in_half_N) - 1
            kept = is_in_half_N[mask]
            rows, users_of = row[mask][kept], number_U[user_N[mask][kept]]
            metrics[term] = ListMetric.of(metric, label[kept], rows, users_of, int(is_in_half_U.sum()))
            if np.isnan(metrics[term].scale).all():
                remedy = "Give more rows, or leave this metric out."
                found = "none in one half of them"
                raise UserError(f"utility {term!r}", expected="users whose lists it can tell", found=found, remedy=remedy)
        rows_N = torch.from_numpy(is_in_half_N)
        kept_predictions = {name: value[rows_N] for name, value in predictions.items()}
        numbers = torch.from_numpy(number_U[user_N[is_in_half_N]])
        context = context_of(every).at(rows_N)
        halves.append(Candidates(kept_predictions, numbers, context, metrics, fitted.parts.fusion_states))
    return halves[0], halves[1]


def _require_numbers(task: Task, term: str, metric: str, label: np.ndarray) -> None:
    if label.ndim != 1:
        found, remedy = "several a row", "Judge by a task with one number a row."
        raise UserError(f"utility {term!r}", expected="one label a row", found=found, remedy=remedy)
    if metric == "gauc" and not np.isin(label, (0, 1)).all():
        remedy = f"Judge by {task.name}.ndcg@10 or {task.name}.mean@10."
        raise UserError(f"utility {term!r}", expected="labels of 0 and 1", found="others", remedy=remedy)


def _ranges(fusion: Fusion, predictions: Mapping[str, Tensor], given: Mapping[str, Uniform]) -> dict[str, Uniform]:
    """Return the search range of each weight: the given one, else from 0 to a bound on the side of the present weight."""
    now, ranges = fusion.weights_among(list(predictions)), dict[str, Uniform]()
    for name in given:
        if name not in now:
            thing = f"range of the weight {name!r}"
            raise UserError(thing, expected="the name of a weight", found="none", remedy=nearest(name, now))
    for name, scale in fusion.scales(predictions).items():
        reach = max(scale, 2 * abs(now[name]))
        ranges[name] = Uniform(low=-reach, high=0.0) if now[name] < 0 else Uniform(low=0.0, high=reach)
    ranges |= given
    for name, span in ranges.items():
        if not span.low <= now[name] <= span.high:
            expected, found = "one that contains the present weight", f"{span.low:g} to {span.high:g} and {now[name]:g}"
            raise UserError(f"range of the weight {name!r}", expected=expected, found=found, remedy="Widen the range.")
    if not ranges:
        kind = type(fusion).__name__
        remedy = "Name constants by `weights`, or choose another fusion."
        raise UserError(f"the fusion {kind}", expected="weights to search for", found="none", remedy=remedy)
    return ranges


def _gains(confirmed: Candidates, utility: Mapping[str, float], given: Fusion, best: Fusion, seed: int) -> dict[str, Gain]:
    """Return the gains of the best weights over the given ones, with bootstrap intervals over users."""
    values = [confirmed.values(fusion) for fusion in (given, best)]

    def figures(draws: np.ndarray | None) -> np.ndarray:
        means = [confirmed.means(fusion_values, draws) for fusion_values in values]
        return np.array([[total(fusion_means, utility), *fusion_means.values()] for fusion_means in means])

    first, second = figures(None)
    users = int(confirmed.users.max()) + 1
    drawn = [figures(draws) for draws in multiplicities(None, users, RESAMPLES, seed)]
    low, high = np.nanquantile([resample[1] - resample[0] for resample in drawn], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    columns = (first, second, second - first, low, high)
    return {name: Gain(*map(float, row)) for name, *row in zip((UTILITY, *utility), *columns, strict=True)}


@contextmanager
def _study(sampler: Sampler, seed: int) -> Iterator[Study]:
    """Open a study in memory and restrict Optuna's log to errors meanwhile."""
    try:
        import optuna
    except ImportError as error:
        raise missing_extra("optuna", "tune", "a search") from error
    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield optuna.create_study(direction="maximize", sampler=samplers[sampler](seed=seed))
    finally:
        optuna.logging.set_verbosity(before)
