"""One HTML page on how a recommender was learned: curves, gradients of the tasks, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyrec.recommender import Fitted
from polyrec.report.page import Section, Table, write_page
from polyrec.report.plots import learning_curves
from polyrec.report.reliability_plots import reliability_panels


def write_training_page(path: Path, fitted: Fitted) -> None:
    """Write the page, whole or not at all."""
    training, tasks = fitted.parts.facts.training, [task.name for task in fitted.spec.tasks]
    curves, best = training["curves"], training["best_epoch"]
    told = f"Epoch {best} of {len(curves)} was best on validation, and its weights are kept."
    sections = [
        Section("Learning", told, learning_curves(curves, tasks, best)),
        Section("The best epoch on validation", tables=[Table(["metric", "value"], _rows(training["validation"]))]),
    ]
    if any("cosine" in name for name in curves[-1]):
        told = "Mean over the batches of the last epoch that were probed, at the feature boundary."
        sections.append(Section("Gradients of the tasks", told, tables=[Table(["", "value"], _gradients(curves))]))
    sections += calibration_sections(fitted)
    lead = f"{type(fitted.spec.network).__name__} of {training['parameters']:,} parameters for {', '.join(tasks)}."
    write_page(path, "How this recommender was learned", lead, sections)


def calibration_sections(fitted: Fitted) -> list[Section]:
    """Return a section for each calibrated task: its reliability on validation rows, before and after."""
    sections = []
    for name, told in fitted.parts.facts.calibration.items():
        text = f"{told['kind']} on {told['rows']:,} validation rows; `after` each half of them was calibrated by the other."
        sections.append(Section(f"Calibration of {name}", text, reliability_panels(name, told)))
    return sections


def _rows(values: Mapping[str, float]) -> list[list[str]]:
    return [[name, f"{value:.4f}"] for name, value in values.items() if not _is_gradient(name)]


def _gradients(curves: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [[name, f"{value:+.4f}"] for name, value in curves[-1].items() if _is_gradient(name)]


def _is_gradient(name: str) -> bool:
    return name.endswith((".cosine", ".gradient_norm"))
