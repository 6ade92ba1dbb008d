"""Cost curves: one size grows, all others stay; every point runs in a separate process, which gives its peak memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from speed import data
from speed.arms_table import ARMS
from speed.environments import InstallationError
from speed.process import Worker, WorkerError
from speed.rounds import Tell
from speed.sections import Plan
from speed.workloads import W2, Shape, Size, plain

BATCH = 4096
UNITS = {"CPU-second": "cpu_seconds", "second": "wall_seconds"}
WARM = 5_000
"""Rows of a warm-up training, which is not counted: one-time costs of a process are not part of a curve."""
LARGEST_ARRAYS = 1_000_000
"""Rows up to which the plain loop runs: it keeps them all in memory."""


@dataclass(frozen=True)
class Point:
    """One point of a curve."""

    curve: str
    at: int
    shape: Shape
    size: Size
    threads: int = 1

    def arms(self) -> tuple[str, ...]:
        """Return the arms of this point; the dense update runs only on the vocabulary curve, where its cost is visible."""
        if self.curve == "rows" and self.at > LARGEST_ARRAYS:
            return ("polyrec",)
        return ("polyrec", "bare", "bare-dense") if self.curve == "vocabulary" else ("polyrec", "bare")


def points(plan: Plan, full: bool) -> Iterator[Point]:
    """Return the points: the plan's rows and up to twenty times as many; the other curves have a quarter of them."""
    base = replace(W2, rows=plan.rows // 4, seed=plan.seed)
    for times in (1, 5, 20) if full else (1, 5):
        yield Point("rows", times * plan.rows, replace(base, rows=times * plan.rows), Size())
    for count in (10_000, 100_000, 1_000_000, 10_000_000) if full else (10_000, 1_000_000):
        vocabularies = (count,) * 2 + (min(count, 100_000),) * 4 + (1_000,) * 14
        yield Point("vocabulary", count, replace(base, vocabularies=vocabularies), Size())
    for tasks in (1, 2, 4, 8) if full else (1, 8):
        yield Point("tasks", tasks, replace(base, tasks=tasks), Size())
    for experts in (1, 2, 4, 8, 16) if full else (1, 16):
        yield Point("experts", experts, base, Size(experts=experts))
    for threads in (1, 2):
        yield Point("threads", threads, base, Size(), threads)


def measure(point: Point, plan: Plan, names: Sequence[str], tell: Tell) -> dict[str, Any]:
    """Return samples per CPU-second and per second, and peak memory, by arm."""
    arms = [name for name in point.arms() if name in names]
    folder = data.make(point.shape, arrays=any(name != "polyrec" for name in arms))
    warm = data.make(replace(point.shape, rows=WARM), arrays=any(name != "polyrec" for name in arms))
    whole = plan.whole_tables or point.curve == "vocabulary"
    shape = data.tables(point.shape, folder, whole) if set(arms) - {"polyrec"} else point.shape
    job = {
        "data": str(folder),
        "shape": plain(shape),
        "size": plain(point.size),
        "batch": BATCH,
        "threads": point.threads,
        "hashed": point.curve == "vocabulary",
    }
    figures: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    for name in arms:
        tell(f"curves: {point.curve} {point.at:,}, {name}")
        try:
            worker = Worker(f"curves-{name}", ARMS[name], point.threads)
            worker.ask("train", {**job, "data": str(warm), "shape": plain(replace(shape, rows=WARM)), "seed": plan.seed})
            answer = worker.ask("train", {**job, "seed": plan.seed})
            worker.close()
        except (WorkerError, InstallationError) as error:
            failed[name] = str(error)
            continue
        rates = {f"samples per {unit}": answer["samples"] / answer[spent] for unit, spent in UNITS.items()}
        figures[name] = {**{unit: float(f"{rate:.5g}") for unit, rate in rates.items()}, "peak_mb": answer["peak_mb"]}
    return {"curve": point.curve, "at": point.at, "arms": figures, "failed": failed}
