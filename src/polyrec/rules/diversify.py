"""Diversify: maximal marginal relevance. Shape letters: N candidates, D width of an item's vector, V values of a column."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class Diversify(Rule):
    """Prefers items unlike those above them: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).

    An item is chosen by `(1 - w) s - w max_j sim(i, j)` over the items j that stand in the list, w being the weight. The
    score s is the fused score on a scale from 0, of the worst candidate, to 1, of the best, for a fused score has no unit.
    `sim` is the cosine of the items' vectors, which a Retrieval task learns, or Jaccard's index of their sets of values in a
    column: of single values, whether they are the same. The scores that are shown stay the fused ones.
    """

    examples = ({"weight": 0.3}, {"weight": 0.5, "column": "genre"}, {"weight": 0.5, "column": "tags"})

    weight: float = Field(ge=0, le=1)
    """What likeness counts against the score: 0 keeps the ranking, 1 looks at likeness alone."""
    column: str | None = None
    """Column of the catalogue that says what is alike; unset, the vectors do."""

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.column is None else (self.column,)

    @property
    def needs_vectors(self) -> bool:
        return self.column is None

    def begin(self, candidates: Candidates) -> Turn:
        if self.column is not None:
            return _Marginal(self.weight, *_sets(candidates, self.column))
        if candidates.vectors_ND is None:
            remedy = "Declare a Retrieval task, or a `column`."
            raise UserError("rule Diversify", expected="vectors of the items", found="none", remedy=remedy)
        return _Marginal(self.weight, candidates.vectors_ND, None)


def _sets(candidates: Candidates, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which values each candidate has, zeros and ones (N, V), and how many, (N,)."""
    values = candidates.values(column)
    number = {value: place for place, value in enumerate(dict.fromkeys(value for own in values for value in own))}
    has_NV = np.zeros((len(values), len(number)), dtype=np.float32)
    for place, own in enumerate(values):
        has_NV[place, [number[value] for value in own]] = 1
    return has_NV, has_NV.sum(1)


class _Marginal(Turn):
    """Likeness to what was taken: of vectors by cosine, or of sets, whose sizes are given, by Jaccard's index."""

    def __init__(self, weight: float, vectors_ND: np.ndarray, sizes_N: np.ndarray | None) -> None:
        self.weight, self.vectors_ND, self.sizes_N = weight, vectors_ND, sizes_N
        self.nearest_N: np.ndarray | None = None

    def took(self, place: int) -> tuple[()]:
        alike_N = (self.vectors_ND @ self.vectors_ND[place]).astype(np.float64)
        if self.sizes_N is not None:
            alike_N /= np.maximum(self.sizes_N + self.sizes_N[place] - alike_N, 1)
        self.nearest_N = alike_N if self.nearest_N is None else np.maximum(self.nearest_N, alike_N)
        return ()

    def score(self, scores_N: np.ndarray) -> np.ndarray:
        low, high = scores_N.min(), scores_N.max()
        scaled_N = (scores_N - low) / (high - low if high > low else 1)
        return (1 - self.weight) * scaled_N - (0 if self.nearest_N is None else self.weight * self.nearest_N)
