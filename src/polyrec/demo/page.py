"""The demo's report: one HTML page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from polyrec.demo.compare import BASELINE, MULTI, SINGLE, Comparison
from polyrec.demo.outcome import Outcome
from polyrec.demo.text import NOTE, TextGain
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.report.page import Section, Table, write_page
from polyrec.report.plots import gate_map, learning_curves, metric_points
from polyrec.report.training_page import calibration_sections

RANKING_NOTE = (
    "`like` and `stars` learn only from rated films: they predict how much a film pleases, not whether it is watched. `met` "
    "learns the latter from every user's interactions, with random films as negatives; without it, the ranking is worse than "
    "popularity."
)
"""Interpretation of the ranking metrics."""


def write_report(path: Path, outcome: Outcome, gates_TE: np.ndarray, terms: str) -> None:
    """Write the page with curves, metrics, gates and one user's list."""
    training, tasks = outcome.multi.parts.facts.training, [task.name for task in outcome.multi.spec.tasks]
    heads = [row for row in outcome.comparisons if row.metric == outcome.multi.spec.tasks[tasks.index(row.task)].metrics[0]]
    sections = [
        Section(
            "Does learning together help?",
            "One metric per task on the test rows, with 95 % intervals from 200 bootstrap resamples of users. One seed. "
            "No model: the mean label of the film or, for a task that does not see the film, of all rows.",
            metric_points(
                [
                    (_title(row), {name: (row.values[name], *row.intervals[name]) for name in (BASELINE, SINGLE, MULTI)})
                    for row in heads
                ]
            ),
            [
                Table(
                    ["task", "metric", BASELINE, SINGLE, MULTI, "multi − single", "95 % interval", "verdict"],
                    [_cells(row) for row in outcome.comparisons],
                )
            ],
        ),
        Section(
            "Learning",
            f"Epoch {training.best_epoch} of {len(training.curves)} was best on validation; its weights are kept.",
            learning_curves(training.curves, tasks, training.best_epoch),
        ),
        *calibration_sections(outcome.multi),
        Section(
            "Gates of the experts",
            "Mean weight of each expert by task on the test rows.",
            gate_map(gates_TE, tasks),
        ),
        Section(
            "The fused ranking",
            f"All {outcome.multi.items.height:,} films, ranked for every user with a liked film among the test rows, except "
            f"films of the user's training rows. {RANKING_NOTE}",
            tables=[Table(["metric", "value"], [[name, f"{value:.4f}"] for name, value in outcome.ranking.items()])],
        ),
        Section(
            "What does the text give?",
            NOTE,
            tables=[
                Table(
                    ["task", "metric", "films", "without", "with text", "95 % interval of the difference", "verdict"],
                    [_text_cells(row) for row in outcome.text],
                )
            ],
        ),
        Section(
            "One user",
            "Films that the user gave five stars, newest first, and the ten recommended films.",
            tables=[_films("gave five stars", outcome.liked), _films("is recommended", outcome.recommended)],
        ),
        Section("Terms of the data", terms),
    ]
    lead = f"One {type(outcome.multi.spec.network).__name__} of {training.parameters:,} parameters for {', '.join(tasks)}."
    write_page(path, "Polyrec on MovieLens-100k", lead, sections)


def _text_cells(row: TextGain) -> list[str]:
    values = [f"{row.without:.4f}", f"{row.whole:.4f}", f"{row.low:+.4f} to {row.high:+.4f}"]
    return [row.task, row.metric, row.films, *values, row.verdict]


def _title(row: Comparison) -> str:
    return f"{row.task}: {row.metric} ({'higher' if METRICS[row.metric].higher_is_better else 'lower'} is better)"


def _cells(row: Comparison) -> list[str]:
    value, low, high = row.difference
    values = [f"{row.values[name]:.4f}" for name in (BASELINE, SINGLE, MULTI)]
    return [row.task, row.metric, *values, f"{value:+.4f}", f"{low:+.4f} to {high:+.4f}", row.verdict]


def _films(title: str, films: pl.DataFrame) -> Table:
    scores = [name for name in ("like", "stars") if name in films.columns]
    rows = [
        [row["title"], ", ".join(row["genres"]), *(f"{row[name]:.2f}" for name in scores)]
        for row in films.iter_rows(named=True)
    ]
    return Table([title, "genres", *scores], rows)
