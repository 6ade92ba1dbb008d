"""`Outcome`: the results of the demo."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from polyrec.demo.compare import Comparison
from polyrec.demo.text import TextGain
from polyrec.recommender import Fitted


@dataclass(frozen=True)
class Outcome:
    """The recommender, comparisons and lists of the demo."""

    multi: Fitted
    comparisons: list[Comparison]
    ranking: dict[str, float]
    """Metrics of the fused ranking, and `popularity ndcg@10`."""
    text: list[TextGain]
    """Gains in metrics from text features."""
    liked: pl.DataFrame
    recommended: pl.DataFrame
