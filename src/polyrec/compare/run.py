"""`polyrec compare`: arms, single-task models, tuned weights and boosting on the same test rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyrec.compare.choosing import count_fits, run_all
from polyrec.compare.comparison import Comparison
from polyrec.compare.contenders import make_contenders
from polyrec.compare.document import assemble
from polyrec.compare.findings import find
from polyrec.compare.fits.pool import Pool
from polyrec.compare.fits.tables import split_tables
from polyrec.compare.page import write_report
from polyrec.compare.truths import read_truths
from polyrec.compare.vary import make_arms
from polyrec.core.errors import UserError
from polyrec.core.files import write_text
from polyrec.core.progress import progress_bar
from polyrec.data.read.sources import Source
from polyrec.data.tables import Tables
from polyrec.evaluate.metrics.metrics import METRICS
from polyrec.recommender import Recommender

RUNS, DATA, DOCUMENT = "runs", "data", "report.json"
"""Names inside the folder of a comparison."""


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
    """Compare a declaration with variants and with single-task models; write report.json, report.html and report.png.

    Every contender has the same number of fits: `trials` with the first seed, then the trial with the best utility on
    validation with all `seeds`. Test rows are held out once and used once, after all choices are made. `out` stores every fit
    by declaration, data and versions: a second call with the same folder runs only missing fits.
    """
    if seeds < 1 or trials < 1 or jobs < 1:
        found = f"{seeds} seeds, {trials} trials, {jobs} jobs"
        raise UserError("a comparison", expected="one or more of each", found=found, remedy="Raise the numbers.")
    if not any(metric in METRICS for task in spec.tasks for metric in task.metrics):
        found = "only tasks that are judged by ranking the catalogue"
        raise UserError("a comparison", expected="a task with metrics on rows", found=found, remedy="Add another task.")
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
    comparison = assemble(
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
        done=pool.done,
    )
    write_text(out / DOCUMENT, json.dumps(comparison.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_report(out, comparison)
    return comparison
