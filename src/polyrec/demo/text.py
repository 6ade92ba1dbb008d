"""The value of the demo's text: the same recommender without text, judged on all films and on held-out films."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from polyrec.compare.text.arms import WHOLE, WITHOUT
from polyrec.compare.text.findings import Difference, higher_is_better
from polyrec.compare.text.report import text_report
from polyrec.compare.text.result import TextReport
from polyrec.compare.text.rows import ALL, COLD
from polyrec.recommender import Recommender

COLD_SHARE = 0.1
"""Share of the films whose ratings are held out."""

NOTE = (
    "Two more fits on a separate split, with and without the text: a tenth of the films are held out from both, and only their "
    "years, genres and texts are known. Intervals are over the test users; one seed. `polyrec text-report` has several seeds "
    "and more arms, including wrong texts and TF-IDF."
)
"""How the figures were made."""


@dataclass(frozen=True)
class TextGain:
    """A metric without and with the text on some test rows."""

    task: str
    """Name of the task."""
    metric: str
    """Name of the metric."""
    films: str
    """Test rows: `all films` or `cold films`."""
    without: float
    """Value without the text."""
    whole: float
    """Value with the text."""
    low: float
    """Lower end of the difference's interval."""
    high: float
    """Upper end of the difference's interval."""

    @property
    def verdict(self) -> str:
        """Whether the text helps: `better`, `worse`, or `unclear` unless the interval excludes zero."""
        if not (self.low > 0 or self.high < 0):
            return "unclear"
        return "better" if (self.low > 0) == higher_is_better(self.metric) else "worse"


def text_gains(spec: Recommender, table: pl.DataFrame, out: Path, seed: int) -> list[TextGain]:
    """Fit the declaration with and without its text; return the headline of every task on all test rows and on cold films."""
    seeded = spec.replace(training=spec.training.replace(seed=seed))
    report = text_report(seeded, table, out, seeds=1, cold_share=COLD_SHARE, new_share=0.0, only=(WITHOUT, WHOLE))
    return [_gain(report, difference) for difference in report.differences if difference.slice in (ALL, COLD)]


def _gain(report: TextReport, difference: Difference) -> TextGain:
    key = difference.slice, difference.task
    without, whole = (
        next(cell.values[0] for cell in report.arms[arm] if (cell.slice, cell.task) == key) for arm in (WITHOUT, WHOLE)
    )
    films = {ALL: "all films", COLD: "cold films"}[difference.slice]
    estimate = difference.estimate
    return TextGain(difference.task, difference.metric, films, without, whole, estimate.low, estimate.high)
