"""The summary that `print(fitted)` shows: model, training rows and validation metrics."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from polyrec.artifact.parts import Parts

_NOT_OF_TASKS = ("loss", "utility")
"""Figures of an epoch that are not validation metrics of a task."""


def summary(parts: Parts) -> Iterator[RenderableType]:
    """Yield lines about the model, and a table of each task's labels and validation metrics."""
    spec, facts, frames = parts.spec, parts.facts, parts.frames
    training = facts.training
    kind = type(spec.network).__name__
    yield Text(f"{kind} of {training.parameters:,} parameters, fitted by Polyrec {facts.versions['polyrec']}")
    counts = [f"{facts.data.rows:,} rows"]
    counts += [
        f"{frame.height:,} {name}" for name, frame in (("users", frames.users), ("items", frames.items)) if frame is not None
    ]
    yield Text(f"{', '.join(counts)}; epoch {training.best_epoch} of {len(training.curves)} was best on validation")
    table = Table("task", "kind", Column("labels", justify="right"), "on validation")
    for task in spec.tasks:
        figures = {name.removeprefix(f"{task.name}."): value for name, value in training.validation.items()}
        shown = ", ".join(
            f"{name} {value:.4g}" for name, value in figures.items() if "." not in name and name not in _NOT_OF_TASKS
        )
        table.add_row(Text(task.name), type(task).__name__, f"{facts.observed[task.name]:,}", Text(shown))
    yield table
    yield Text("The epoch was chosen by these figures, so they are optimistic: report figures of `evaluate` on other rows.")
