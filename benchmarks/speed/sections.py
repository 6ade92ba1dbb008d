"""The workloads: the data, the jobs of every round, and the figure of each answer."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Any

from speed import data
from speed.workloads import TWO_TOWERS, W1, W2, W3, Shape, Size, plain

WARM = 5
"""Warm-up calls of a ranking, which are not counted."""
CANDIDATES = 500


@dataclass(frozen=True)
class Plan:
    """The extent of a run."""

    rows: int
    """Training rows of W2 and W5; the others have a quarter."""
    rounds: int
    batches: tuple[int, ...]
    repeats: int = 50
    seed: int = 0
    threads: int = 1
    quality: bool = False
    """Set if only AUC is reported."""
    whole_tables: bool = False
    """Set if tables of peers and the plain loop have a row for every existing id, not only for those of the training rows."""


SHORT = Plan(rows=40_000, rounds=2, batches=(4096,), repeats=10)
FULL = Plan(rows=1_000_000, rounds=5, batches=(4096, 1024))


@dataclass(frozen=True)
class Workload:
    """One workload: the job, its data and model, and the figure computed from an answer."""

    name: str
    title: str
    run: str
    shape: Shape
    size: Size
    unit: str = "samples per CPU-second"
    batches: tuple[int, ...] | None = None
    """Batch sizes; unset, the plan's."""
    share: int = 1
    """Divisor of the plan's rows."""

    def shaped(self, plan: Plan) -> Shape:
        """Return the shape with the plan's rows and seed."""
        return replace(self.shape, rows=plan.rows // self.share, seed=plan.seed)

    def jobs(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Return the jobs of a round by the name of their variant, and draw missing data."""
        batches = self.batches or plan.batches
        if self.run == "rank":
            more = {"candidates": CANDIDATES, "repeats": WARM + plan.repeats}
            return {f"{CANDIDATES} candidates": {**self._job(plan, batches[0]), **more}}
        return {f"batch {batch}": self._job(plan, batch) for batch in (batches if self.run == "train" else batches[:1])}

    def _job(self, plan: Plan, batch: int) -> dict[str, Any]:
        folder = data.make(self.shaped(plan))
        shape = data.tables(self.shaped(plan), folder, plan.whole_tables)
        given = {"shape": plain(shape), "size": plain(self.size), "threads": plan.threads, "batch": batch}
        return {"data": str(folder), **given}

    def figure(self, answer: dict[str, Any]) -> float:
        """Return the figure of one answer, in the workload's unit."""
        if self.run == "rank":
            return statistics.median(1000 * time["cpu_seconds"] for time in answer["times"][WARM:])
        return answer["samples"] / answer["cpu_seconds"]


WORKLOADS = {
    "W1": Workload("W1", "Two tasks, two ids, one shared layer of 64", "train", W1, TWO_TOWERS, batches=(32, 4096), share=4),
    "W2": Workload("W2", "MMoE, 20 id columns, 10 numbers, 3 tasks", "train", W2, Size()),
    "W3": Workload("W3", "W2 with a column of 1 to 50 ids", "train", W3, Size(), share=4),
    "W4": Workload("W4", "Score 500 candidates of one user", "rank", W2, Size(), "CPU ms a call", share=4),
    "W5": Workload("W5", "From Parquet to shuffled batches", "load", W2, Size(), "rows per CPU-second"),
}
