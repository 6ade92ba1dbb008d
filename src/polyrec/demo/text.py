"""What the demo's text gave: the same recommender without it, judged on films that both know and on films that neither does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from polyrec.compare.text.arms import WHOLE, WITHOUT
from polyrec.compare.text.findings import higher_is_better
from polyrec.compare.text.report import text_report
from polyrec.compare.text.rows import ALL, COLD
from polyrec.recommender import Recommender

COLD_SHARE = 0.1
"""Share of the films whose ratings are held out."""

NOTE = (
    "Two more fits on a split of their own, one without the text: a tenth of the films are held out from both, and only "
    "their years, genres and texts are known. Intervals are over the test users; one seed. `polyrec text-report` has seeds and "
    "more arms, the wrong texts and TF-IDF among them."
)
"""How the figures were made."""


@dataclass(frozen=True)
class TextGain:
    """A metric without and with the text on some test rows."""

    task: str
    metric: str
    films: str
    without: float
    whole: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Say in a word whether the text helped, as far as these test users can tell."""
        if self.low <= 0 <= self.high:
            return "unclear"
        return "better" if (self.low > 0) == higher_is_better(self.metric) else "worse"


def text_gains(spec: Recommender, table: pl.DataFrame, out: Path, seed: int) -> list[TextGain]:
    """Fit the declaration with and without its text; return every task's headline on all test rows and on cold films."""
    seeded = spec.replace(training=spec.training.replace(seed=seed))
    document = text_report(seeded, table, out, seeds=1, cold_share=COLD_SHARE, new_share=0.0, only=(WITHOUT, WHOLE))
    return [_gain(document, told) for told in document["differences"] if told["slice"] in (ALL, COLD)]


def _gain(document: Mapping[str, Any], told: Mapping[str, Any]) -> TextGain:
    key = told["slice"], told["task"]
    without, whole = (
        next(own["values"][0] for own in document["arms"][arm] if (own["slice"], own["task"]) == key)
        for arm in (WITHOUT, WHOLE)
    )
    films = {ALL: "all films", COLD: "cold films"}[told["slice"]]
    low, high = told["estimate"]["low"], told["estimate"]["high"]
    return TextGain(told["task"], told["metric"], films, without, whole, low, high)
