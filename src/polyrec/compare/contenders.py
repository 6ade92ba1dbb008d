"""The contenders of a comparison with their trials; all have the same number of fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyrec.balancing.fixed_weights import FixedWeights
from polyrec.compare.fits import boosting
from polyrec.compare.fits.job import Job
from polyrec.compare.fits.tables import Split
from polyrec.compare.singles import Counter, single
from polyrec.compare.vary import Arm
from polyrec.recommender import Recommender

Role = Literal["arm", "weights", "boosting", "single"]

TUNED = "tuned fixed weights"
BOOSTED = "LightGBM"

REACH = 10.0
"""Weights are drawn between 1 / REACH and REACH, then scaled to a mean of one."""

_PROBED = 2
"""Number of batches in each epoch at which the tasks' gradients are compared."""


@dataclass(frozen=True)
class Trial:
    """One setting to try on the first seed."""

    job: Job
    """Job of the fit."""
    rate: float
    """Learning rate."""
    weights: dict[str, float] | None = None
    """Weight of each task; None unless the trials vary them."""


@dataclass(frozen=True)
class Contender:
    """A way to learn one task or all, with the trials among which validation chooses."""

    name: str
    """Name of the arm, or of the task for single-task models."""
    role: Role
    """Kind of contender."""
    trials: tuple[Trial, ...]
    """Settings to try on the first seed."""
    as_given: bool = False
    """Set if it is the unchanged declaration."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that are predicted."""
        return tuple(task.name for task in self.trials[0].job.tasks)


def factors(trials: int) -> list[float]:
    """Return the factor of the learning rate in each trial: 1, 1/3, 3, 1/9, 9, …"""
    steps = [0, *(sign * step for step in range(1, trials + 1) for sign in (-1, 1))]
    return [3.0**step for step in steps[:trials]]


def make_contenders(spec: Recommender, arms: Sequence[Arm], split: Split, trials: int, boosted: bool) -> list[Contender]:
    """Return the single-task models, the arms, the tuned fixed weights and, if `boosted`, LightGBM, in this order."""
    count = Counter(spec, split.learn)
    contenders = [Contender(task.name, "single", _trials(single(spec, task, count), split, trials)) for task in spec.tasks]
    contenders += [Contender(arm.name, "arm", _trials(arm.spec, split, trials), arm.as_given) for arm in arms]
    if len(spec.tasks) > 1:
        rates = [spec.training.learning_rate * factor for factor in factors(trials)]
        drawn = zip(weight_trials(spec, trials), rates, strict=True)
        weighted = tuple(_trial(variant, rate, split, keep_weights=True) for variant, rate in drawn)
        contenders.append(Contender(TUNED, "weights", weighted))
    if boosted:
        boosting.require_lightgbm()
        for task in spec.tasks:
            if boosting.can_boost(task):
                rates = [boosting.RATE * factor for factor in factors(trials)]
                jobs = [Job(_first(spec), split.learn_path, split.test_path, task.name, rate) for rate in rates]
                boosts = tuple(Trial(job, rate) for job, rate in zip(jobs, rates, strict=True))
                contenders.append(Contender(f"{BOOSTED} · {task.name}", "boosting", boosts))
    return contenders


def weight_trials(spec: Recommender, trials: int) -> list[Recommender]:
    """Return `trials` variants of the declaration with fixed task weights: equal weights first, then random ones.

    Tuned fixed weights are the baseline of every balancing method. Random weights are log-uniform, scaled to a mean of one, and
    the same in every call.
    """
    generator = np.random.default_rng(0)
    names = [task.name for task in spec.tasks]
    variants = [spec.replace(balancing=FixedWeights())]
    while len(variants) < trials:
        drawn = REACH ** generator.uniform(-1, 1, size=len(names))
        weights = {name: float(f"{value:.4g}") for name, value in zip(names, drawn / drawn.mean(), strict=True)}
        variants.append(spec.replace(balancing=FixedWeights(weights=weights)))
    return variants


def _trials(spec: Recommender, split: Split, trials: int) -> tuple[Trial, ...]:
    return tuple(_trial(spec, spec.training.learning_rate * factor, split) for factor in factors(trials))


def _trial(spec: Recommender, rate: float, split: Split, keep_weights: bool = False) -> Trial:
    first = _first(spec)
    job = Job(first.replace(training=first.training.replace(learning_rate=rate)), split.learn_path, split.test_path)
    weights = {task.name: getattr(spec.balancing, "weights", {}).get(task.name, 1.0) for task in spec.tasks}
    return Trial(job, rate, weights if keep_weights else None)


def _first(spec: Recommender) -> Recommender:
    """Return the declaration with the first seed and with probes of the tasks' gradients."""
    return spec.replace(training=spec.training.replace(seed=0, probe=max(spec.training.probe, _PROBED)))
