"""`polyrec text-report`: the value of a declaration's texts compared with no text, wrong texts and TF-IDF."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from polyrec.compare.fits.job import versions
from polyrec.compare.text.arms import WHOLE, text_arms
from polyrec.compare.text.findings import find, higher_is_better, verdict_of
from polyrec.compare.text.fits import TextFit, fit_once
from polyrec.compare.text.planted import planted
from polyrec.compare.text.result import TextPlan, TextReport
from polyrec.compare.text.rows import split_rows
from polyrec.core.errors import UserError
from polyrec.core.files import write_text
from polyrec.core.progress import progress_bar
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.recommender import Recommender
from polyrec.report.text_plots import ArmsBySlices, TextPanel

DOCUMENT, RUNS = "text-report.json", "runs"
"""Names inside the folder of a report."""


def text_report(
    spec: Recommender,
    data: Source | Tables,
    out: Path,
    *,
    seeds: int = 3,
    test_share: float = 0.2,
    cold_share: float = 0.1,
    new_share: float = 0.05,
    tail: int = 3,
    users: int = 2000,
    resamples: int = 200,
    only: Collection[str] | None = None,
    progress: bool = True,
) -> TextReport:
    """Fit a declaration with and without its texts, with wrong texts and with TF-IDF; judge all on the same test rows.

    All arms use the training of the declaration and the same seeds; test rows, cold items and new users are held out once.
    Rankings use at most `users` users. `only` restricts the arms. `out` stores every fit: a second call with the same folder
    runs only missing fits. Item texts that look planted are reported in addition to the figures. Writes text-report.json.
    """
    if seeds < 1:
        raise UserError("a text report", expected="one seed or more", found=f"{seeds}", remedy="Raise `seeds`.")
    arms = {name: arm for name, arm in text_arms(spec.replace(search={})).items() if only is None or name in only}
    rows = split_rows(spec, data, test_share=test_share, cold_share=cold_share, new_share=new_share, tail=tail)
    fits: dict[str, list[TextFit]] = {name: [] for name in arms}
    with progress_bar("fits", len(arms) * seeds, disable=not progress) as bar:
        for name, arm in arms.items():
            for seed in range(seeds):
                seeded = arm.replace(training=arm.training.replace(seed=seed))
                fits[name].append(fit_once(seeded, rows, out / RUNS, users)[0])
                bar.advance()
    cells, differences = find(spec, fits, resamples)
    report = TextReport(
        verdict=verdict_of(differences),
        plan=TextPlan(seeds, test_share, cold_share, new_share, tail, users, resamples),
        rows=dict(rows.facts),
        catalogue=_items(rows.learn),
        planted=planted(spec, rows.learn),
        arms=cells,
        differences=differences,
        spec=spec.model_dump(mode="json"),
        versions=versions(),
    )
    write_text(out / DOCUMENT, json.dumps(report.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    return report


def arms_by_slices(report: TextReport) -> ArmsBySlices:
    """Return the plot of every arm's headline metric on every slice, one panel per task."""
    cells = [(arm, cell) for arm, row in report.arms.items() for cell in row]
    metrics = {cell.task: cell.metric for _, cell in cells}
    panels = []
    for task, metric in metrics.items():
        values: dict[str, dict[str, Sequence[float]]] = {arm: {} for arm in report.arms}
        for arm, cell in cells:
            if cell.task == task:
                values[arm][cell.slice] = cell.values
        side = "right" if higher_is_better(metric) else "left"
        panels.append(TextPanel(task, f"{metric} ({side} is better)", values))
    slices = tuple(dict.fromkeys(cell.slice for _, cell in cells))
    return ArmsBySlices(panels, tuple(report.arms), slices, WHOLE)


def _items(tables: Tables) -> int | None:
    items = tables.items
    return None if items is None else len(items)  # type: ignore[arg-type]  # a frame by now
