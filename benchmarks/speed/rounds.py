"""Rounds of a workload with alternating arms: A B C A B C ..., so that a noisy minute affects all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from speed.arms_table import ARMS
from speed.environments import InstallationError, versions
from speed.process import Worker, WorkerError
from speed.sections import Plan, Workload

Tell = Callable[[str], None]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return median, lowest and highest value, and all values, with five digits."""
    rounded = [float(f"{value:.5g}") for value in values]
    return {
        "median": float(f"{statistics.median(values):.5g}"),
        "lowest": min(rounded),
        "highest": max(rounded),
        "runs": rounded,
    }


def summary(workload: Workload, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one variant of one arm over the rounds."""
    told: dict[str, Any] = {workload.unit: spread([workload.figure(dict(answer)) for answer in answers])}
    told["peak_mb"] = max(answer["peak_mb"] for answer in answers)
    for name in ("auc", "first_batch_seconds", "after_first", "wall_seconds"):
        if name in answers[0]:
            told[name] = spread([answer[name] for answer in answers])
    if "auc" in told:
        told["auc"]["mean"] = float(f"{statistics.mean(told['auc']['runs']):.5g}")
    return told


class Rounds:
    """The arms of a workload, each with a worker for all rounds, and their answers."""

    def __init__(self, workload: Workload, plan: Plan, names: Sequence[str], tell: Tell) -> None:
        self.workload, self.plan, self.tell = workload, plan, tell
        self.failed: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.workers: dict[str, Worker] = {}
        self.answers: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name in names:
            try:
                tell(f"{workload.name}: environment of {name}")
                self.workers[name] = Worker(f"{workload.name}-{name}", ARMS[name], plan.threads)
                self.versions[name] = versions(self.workers[name].python)
            except InstallationError as error:
                self.failed[name] = f"not installed: {error}"

    def run(self, number: int) -> None:
        """Run every job on every arm that is still alive; the seed of a round is the plan's seed plus its number."""
        for variant, job in self.workload.jobs(self.plan).items():
            for name in [name for name in self.workers if name not in self.failed]:
                self.tell(f"{self.workload.name}: round {number + 1}, {variant}, {name}")
                try:
                    answer = self.workers[name].ask(self.workload.run, {**job, "seed": self.plan.seed + number})
                except WorkerError as error:
                    self.failed[name] = str(error)
                    continue
                self.answers.setdefault(name, {}).setdefault(variant, []).append(answer)

    def told(self) -> dict[str, Any]:
        """Return the figures so far, by arm and variant, and what failed."""
        arms = {
            name: {variant: summary(self.workload, answers) for variant, answers in variants.items()}
            for name, variants in self.answers.items()
        }
        return {"arms": arms, "failed": dict(self.failed), "versions": self.versions}

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers.values():
            worker.close()
