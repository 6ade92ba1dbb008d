"""The workloads: the data, the jobs of every round, and the figure that is told of each answer."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from speed import data
from speed.workloads import TWO_TOWERS, W1, W2, W3, Shape, Size, plain

WARM = 5
"""Calls of a ranking that are not counted."""
CANDIDATES = 500


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    rows: int
    rounds: int
    batches: tuple[int, ...]
    small_batches: tuple[int, ...] = (32, 4096)
    """Batch sizes of W1."""
    repeats: int = 50
    seed: int = 0
    threads: int = 1


SHORT = Plan(rows=40_000, rounds=2, batches=(4096,), repeats=10)
FULL = Plan(rows=1_000_000, rounds=5, batches=(4096, 1024))


@dataclass(frozen=True)
class Workload:
    """One question: what is asked, of which data and model, and how an answer becomes a figure."""

    name: str
    title: str
    run: str
    shape: Shape
    size: Size
    unit: str = "samples per CPU-second"
    more_is_better: bool = True

    def shaped(self, plan: Plan) -> Shape:
        """Return the shape with the plan's rows; W1 has half of them."""
        return replace(self.shape, rows=plan.rows // 2 if self.name == "W1" else plan.rows, seed=plan.seed)

    def jobs(self, plan: Plan, folder: Path) -> dict[str, dict[str, Any]]:
        """Return the jobs of a round by the name of their variant."""
        batches = plan.small_batches if self.name == "W1" else plan.batches
        batches = batches[:1] if self.run != "train" else batches
        common = {"data": str(folder), "shape": plain(self.shaped(plan)), "size": plain(self.size), "threads": plan.threads}
        if self.run == "rank":
            asked = {"candidates": CANDIDATES, "repeats": WARM + plan.repeats}
            return {f"{CANDIDATES} candidates": {**common, **asked, "batch": batches[0]}}
        return {f"batch {batch}": {**common, "batch": batch} for batch in batches}

    def data(self, plan: Plan) -> Path:
        """Return the folder of the data, drawn where it is not there."""
        return data.make(self.shaped(plan))

    def figure(self, answer: dict[str, Any]) -> float:
        """Return the figure of one answer, in the workload's unit."""
        if self.run == "rank":
            return statistics.median(1000 * time["cpu_seconds"] for time in answer["times"][WARM:])
        return answer["samples"] / answer["cpu_seconds"]


WORKLOADS = {
    "W1": Workload("W1", "Two tasks, two ids, one shared layer of 64", "train", W1, TWO_TOWERS),
    "W2": Workload("W2", "MMoE, 20 id columns, 10 numbers, 3 tasks", "train", W2, Size()),
    "W3": Workload("W3", "W2 with a column of 1 to 50 ids", "train", W3, Size()),
    "W4": Workload("W4", "Score 500 candidates of one user", "rank", W2, Size(), "CPU ms a call", more_is_better=False),
    "W5": Workload("W5", "From Parquet to shuffled batches", "load", W2, Size(), "rows per CPU-second"),
}
