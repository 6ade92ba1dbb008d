"""One trial: propose settings, fit a recommender with them and return its validation metrics."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyrec.core.paths import has_path, with_path
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.ranges.checks import in_order
from polyrec.ranges.range import Range, Sampler
from polyrec.recommender import Recommender
from polyrec.tune.objective import Objective, judged_by

if TYPE_CHECKING:
    from optuna import Trial


def propose(spec: Recommender, ranges: Mapping[str, Range], sampler: Sampler) -> dict[str, Any]:
    """Return a value for every range whose path exists, given the values proposed for the parts above it."""
    parameters: dict[str, Any] = {}
    for path in in_order(ranges):
        if has_path(spec, path):
            parameters[path] = ranges[path].suggest(path, sampler)
            spec = with_path(spec, path, parameters[path])
    return parameters


def apply(spec: Recommender, parameters: Mapping[str, Any]) -> Recommender:
    """Return the spec with these settings and without ranges."""
    spec = spec.replace(search={})
    for path, value in parameters.items():
        spec = with_path(spec, path, value)
    return spec


def run_trial(
    trial: Trial,
    spec: Recommender,
    parameters: Mapping[str, Any],
    objectives: Sequence[Objective],
    data: Source | Tables,
    validation: Source | None,
    on_note: Callable[[str], None],
) -> list[float]:
    """Fit with these settings and return the objectives at the epoch with the best utility.

    With a single objective, the trial reports it after every epoch, and the study's pruner may stop the trial. A trial with an
    objective that is not finite is pruned as well. Raises the errors of `Recommender.fit`.
    """
    from optuna import TrialPruned

    applied = judged_by(apply(spec, parameters), objectives)
    applied = applied.replace(training=applied.training.replace(refit=False))
    start, parent = time.monotonic(), multiprocessing.parent_process()

    def judge_epoch(epoch: int, entry: Mapping[str, float]) -> None:
        if parent is not None and not parent.is_alive():
            raise SystemExit("the search that started this trial has ended")
        trial.set_user_attr("epochs", epoch)
        trial.set_user_attr("seconds", round(time.monotonic() - start, 2))
        on_note(f"trial {trial.number}, epoch {epoch} of {applied.training.epochs}")
        if len(objectives) == 1:
            trial.report(objectives[0].of(entry), epoch)
            if trial.should_prune():
                raise TrialPruned

    facts = applied.fit(data, validation, progress=False, on_epoch=judge_epoch).parts.facts
    trial.set_user_attr("best_epoch", facts.training.best_epoch)
    trial.set_user_attr("data", facts.data.sha256 + facts.data.validation_sha256)
    values = [objective.of(facts.training.validation) for objective in objectives]
    if not all(map(math.isfinite, values)):
        raise TrialPruned
    return values
