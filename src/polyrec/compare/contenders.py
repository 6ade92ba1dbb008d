"""What is compared: each contender with its trials, all with the same number of fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.compare import boosting
from polyrec.compare.job import Job
from polyrec.compare.singles import Counter, single
from polyrec.compare.tables import Split
from polyrec.compare.vary import Arm
from polyrec.recommender import Recommender

Role = Literal["arm", "weights", "boosting", "single"]

TUNED = "tuned fixed weights"
BOOSTED = "LightGBM"

REACH = 10.0
"""Weights are drawn from 1 / REACH to REACH, before they are scaled to a mean of one."""

_PROBED = 2
"""Batches an epoch at which the gradients of tasks are compared."""


@dataclass(frozen=True)
class Trial:
    """One setting to try on the first seed."""

    job: Job
    rate: float
    weights: dict[str, float] | None = None
    """Weights of the tasks, where they are what is tried."""


@dataclass(frozen=True)
class Contender:
    """A way to learn one task or all, with the settings among which validation chooses."""

    name: str
    role: Role
    trials: tuple[Trial, ...]
    is_own: bool = False
    """Whether it is the declaration as it was given."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it predicts."""
        return tuple(task.name for task in self.trials[0].job.tasks)


def factors(trials: int) -> list[float]:
    """Return what the step size is multiplied by in each trial: 1, 1/3, 3, 1/9, 9, …"""
    steps = [0, *(sign * step for step in range(1, trials + 1) for sign in (-1, 1))]
    return [3.0**step for step in steps[:trials]]


def make_contenders(spec: Recommender, arms: Sequence[Arm], split: Split, trials: int, boosted: bool) -> list[Contender]:
    """Return the single-task models, the arms, the tuned fixed weights and, where asked for, LightGBM, in this order."""
    count = Counter(spec, split.learn)
    found = [Contender(task.name, "single", _trials(single(spec, task, count), split, trials)) for task in spec.tasks]
    found += [Contender(arm.name, "arm", _trials(arm.spec, split, trials), arm.is_own) for arm in arms]
    if len(spec.tasks) > 1:
        rates = [spec.training.learning_rate * factor for factor in factors(trials)]
        drawn = zip(weight_trials(spec, trials), rates, strict=True)
        found.append(Contender(TUNED, "weights", tuple(_trial(own, rate, split, tell_weights=True) for own, rate in drawn)))
    if boosted:
        boosting.require_lightgbm()
        for task in spec.tasks:
            if boosting.can_boost(task):
                rates = [boosting.RATE * factor for factor in factors(trials)]
                jobs = [Job(_first(spec), split.learn_path, split.test_path, task.name, rate) for rate in rates]
                own = tuple(Trial(job, rate) for job, rate in zip(jobs, rates, strict=True))
                found.append(Contender(f"{BOOSTED} · {task.name}", "boosting", own))
    return found


def weight_trials(spec: Recommender, trials: int) -> list[Recommender]:
    """Return the declaration with as many vectors of task weights: equal ones first, then random ones.

    Random weights are log-uniform, scaled to a mean of one, and the same for every call.
    """
    generator = np.random.default_rng(0)
    names = [task.name for task in spec.tasks]
    found = [spec.replace(balancing=FixedWeights())]
    while len(found) < trials:
        drawn = REACH ** generator.uniform(-1, 1, size=len(names))
        weights = {name: float(f"{value:.4g}") for name, value in zip(names, drawn / drawn.mean(), strict=True)}
        found.append(spec.replace(balancing=FixedWeights(weights=weights)))
    return found


def _trials(spec: Recommender, split: Split, trials: int) -> tuple[Trial, ...]:
    return tuple(_trial(spec, spec.training.learning_rate * factor, split) for factor in factors(trials))


def _trial(spec: Recommender, rate: float, split: Split, tell_weights: bool = False) -> Trial:
    first = _first(spec)
    job = Job(first.replace(training=first.training.replace(learning_rate=rate)), split.learn_path, split.test_path)
    weights = {task.name: getattr(spec.balancing, "weights", {}).get(task.name, 1.0) for task in spec.tasks}
    return Trial(job, rate, weights if tell_weights else None)


def _first(spec: Recommender) -> Recommender:
    """Return the declaration with the first seed, and the gradients of its tasks watched."""
    return spec.replace(training=spec.training.replace(seed=0, probe=max(spec.training.probe, _PROBED)))
