"""One HTML page on the training of a recommender: curves, gradients of the tasks, and calibration. Shape letters: B bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyrec.artifact.facts import CalibrationFacts
from polyrec.evaluate.metrics.reliability import Reliability
from polyrec.recommender import Fitted
from polyrec.report.page import Section, Table, write_page
from polyrec.report.plots import COLOURS, figure, learning_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_training_page(path: Path, fitted: Fitted) -> None:
    """Write the page, atomically."""
    training, tasks = fitted.parts.facts.training, [task.name for task in fitted.spec.tasks]
    curves, best = training.curves, training.best_epoch
    text = f"Epoch {best} of {len(curves)} was best on validation; its weights are kept."
    sections = [
        Section("Learning", text, learning_curves(curves, tasks, best)),
        Section("The best epoch on validation", tables=[Table(["metric", "value"], _rows(training.validation))]),
    ]
    if any("cosine" in name for name in curves[-1]):
        text = "Mean over the probed batches of the last epoch, at the feature boundary."
        sections.append(Section("Gradients of the tasks", text, tables=[Table(["", "value"], _gradients(curves))]))
    sections += calibration_sections(fitted)
    lead = f"{type(fitted.spec.network).__name__} of {training.parameters:,} parameters for {', '.join(tasks)}."
    write_page(path, "How this recommender was learned", lead, sections)


def calibration_sections(fitted: Fitted) -> list[Section]:
    """Return a section for each calibrated task with its reliability on validation rows, before and after calibration."""
    sections = []
    for name, calibration in fitted.parts.facts.calibration.items():
        rows = f"{calibration.kind} on {calibration.rows:,} validation rows"
        text = f"{rows}; in `after`, each half of them is calibrated by a calibrator fitted to the other half."
        sections.append(Section(f"Calibration of {name}", text, reliability_panels(name, calibration)))
    return sections


def reliability_panels(task: str, facts: CalibrationFacts) -> str:
    """Draw the reliability of a task before and after calibration, from the facts that `calibrate` returns.

    Each point is a bin of equal mass at its mean prediction, with the 95 % interval of the observed share as a bar; points of a
    calibrated model lie on the dotted line. Both panels have the same axes, which end at the largest observed value instead of
    1 if the event is rare.
    """
    curves = {"before": facts.reliability_before, "after": facts.reliability_after}
    errors = {"before": facts.ece_before, "after": facts.ece_after}
    points = {when: Reliability.from_dict(dict(curve)) for when, curve in curves.items()}
    top = min(1.0, 1.05 * max(float(max(c.prediction_B.max(), c.high_B.max())) for c in points.values()))
    with figure(6.4, 3.3, 2) as (axes, svg):
        for axis, (when, curve), colour in zip(axes, points.items(), COLOURS[1::-1], strict=True):
            _draw(axis, curve, top, colour)
            axis.set_title(f"{task}, {when}: error {errors[when]:.4f}", fontsize=9)
            axis.set_xlabel("mean prediction")
        axes[0].set_ylabel("observed share")
    return svg.getvalue()


def _draw(axis: Axes, curve: Reliability, top: float, colour: str) -> None:
    axis.plot([0, top], [0, top], color="#888888", linestyle=":", linewidth=1)
    axis.vlines(curve.prediction_B, curve.low_B, curve.high_B, color=colour, linewidth=1.2)
    axis.plot(curve.prediction_B, curve.label_B, color=colour, marker="o", markersize=4, linewidth=0.8)
    axis.set_xlim(0, top)
    axis.set_ylim(0, top)
    axis.set_aspect("equal")


def _rows(values: Mapping[str, float]) -> list[list[str]]:
    return [[name, f"{value:.4f}"] for name, value in values.items() if not _is_gradient(name)]


def _gradients(curves: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [[name, f"{value:+.4f}"] for name, value in curves[-1].items() if _is_gradient(name)]


def _is_gradient(name: str) -> bool:
    return name.endswith((".cosine", ".gradient_norm"))
