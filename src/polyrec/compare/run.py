"""`polyrec compare`: arms, single-task models, tuned weights and boosting, judged on the same test rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrec.compare.choosing import count_fits, run_all
from polyrec.compare.contenders import make_contenders
from polyrec.compare.document import write_document
from polyrec.compare.findings import find
from polyrec.compare.page import write_report
from polyrec.compare.pool import Pool
from polyrec.compare.tables import split_tables
from polyrec.compare.truths import read_truths
from polyrec.compare.vary import make_arms
from polyrec.core.errors import UserError
from polyrec.core.files import write_text
from polyrec.core.progress import progress_bar
from polyrec.data.sources import Source
from polyrec.data.tables import Tables
from polyrec.evaluate.metrics import METRICS
from polyrec.recommender import Recommender

RUNS, DATA, DOCUMENT = "runs", "data", "report.json"
"""Names inside the folder of a comparison."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    document: dict[str, Any]
    """The figures, as report.json has them."""
    done: tuple[str, ...]
    """Keys of the fits that were done now; the others were found done."""


def compare(
    spec: Recommender,
    data: Source | Tables,
    out: Path,
    *,
    varied: Mapping[str, Sequence[Any]],
    test: Source | None = None,
    test_share: float = 0.2,
    one_at_a_time: bool = False,
    seeds: int = 5,
    trials: int = 3,
    jobs: int = 1,
    boosting: bool = False,
    resamples: int = 200,
    progress: bool = True,
) -> Comparison:
    """Compare a declaration with its variants and with one model a task, and write report.json, report.html and report.png.

    Every contender has as many fits: `trials` on the first seed, the best of them on validation on all `seeds`. Test rows are
    held out once, and looked at once, when all choices are made. `out` keeps every fit by declaration, data and versions: a
    second call with the same folder does only what is missing.
    """
    if seeds < 1 or trials < 1 or jobs < 1:
        found = f"{seeds} seeds, {trials} trials, {jobs} jobs"
        raise UserError("a comparison", expected="one or more of each", found=found, remedy="Mend the numbers.")
    if not any(metric in METRICS for task in spec.tasks for metric in task.metrics):
        found = "only tasks that are judged by ranking all items"
        raise UserError("a comparison", expected="a task with metrics of its rows", found=found, remedy="Add another task.")
    spec = spec.replace(search={})
    arms = make_arms(spec, varied, one_at_a_time)
    split = split_tables(spec, data, test, test_share, out / DATA)
    contenders = make_contenders(spec, arms, split, trials, boosting)
    pool = Pool(out / RUNS, jobs)
    with progress_bar("fits", count_fits(contenders, seeds), disable=not progress) as bar:
        finished = run_all(contenders, seeds, pool, bar.advance)
    with progress_bar("judging on the test rows", len(contenders), disable=not progress) as bar:
        truths = read_truths(spec, split, resamples)
        figures = find(finished, truths, bar.advance)
    document = write_document(
        spec,
        varied,
        split,
        truths,
        finished,
        figures,
        design="one at a time" if one_at_a_time else "grid",
        seeds=seeds,
        trials=trials,
        resamples=resamples,
    )
    write_text(out / DOCUMENT, json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_report(out, document)
    return Comparison(document, tuple(pool.done))
