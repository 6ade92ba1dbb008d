"""Diversify: maximal marginal relevance.

Shape letters: N candidates or their sets, D width of an item's vector, M values of all sets, concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class Diversify(Rule):
    """Prefers items unlike those above them: maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).

    The next item maximises `(1 - w) s - w max_j sim(i, j)` over the items j in the list, where w is the weight. The score s is
    the fused score, which has no unit, scaled to 0 for the worst candidate and 1 for the best. `sim` is the cosine of the item
    vectors that a Retrieval task learns, or the Jaccard index of the items' sets of values in a column (for single values,
    whether they are equal). The list reports the fused scores.
    """

    examples = ({"weight": 0.3}, {"weight": 0.5, "column": "genre"}, {"weight": 0.5, "column": "tags"})

    weight: float = Field(ge=0, le=1)
    """Weight of the similarity against the score: 0 keeps the ranking, 1 ignores the scores."""
    column: str | None = None
    """Column of the catalogue whose values define the similarity; unset, the item vectors do."""

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.column is None else (self.column,)

    @property
    def needs_vectors(self) -> bool:
        return self.column is None

    def begin(self, candidates: Candidates) -> Turn:
        if self.column is not None:
            return _Marginal(self.weight, Sets.of(candidates.values(self.column)).alike)
        vectors_ND = candidates.vectors_ND
        if vectors_ND is None:
            remedy = "Declare a Retrieval task, or a `column`."
            raise UserError("rule Diversify", expected="vectors of the items", found="none", remedy=remedy)
        return _Marginal(self.weight, lambda place: (vectors_ND @ vectors_ND[place]).astype(np.float64))


@dataclass(frozen=True)
class Sets:
    """Sets of values as integer codes, concatenated; memory grows with the sizes of the sets, not with the vocabulary."""

    code_M: np.ndarray
    """Code of each value."""
    set_M: np.ndarray
    """Set that each value belongs to."""
    first_N: np.ndarray
    """Position of each set's first code."""
    size_N: np.ndarray
    """Number of values of each set."""

    @classmethod
    def of(cls, values: Sequence[frozenset[Hashable]]) -> Sets:
        """Encode sets of values."""
        codes: dict[Hashable, int] = {}
        code_M = np.array([codes.setdefault(value, len(codes)) for elements in values for value in elements], dtype=np.int64)
        size_N = np.array([len(elements) for elements in values], dtype=np.int64)
        return cls(code_M, np.repeat(np.arange(len(values)), size_N), size_N.cumsum() - size_N, size_N)

    def alike(self, place: int) -> np.ndarray:
        """Return the Jaccard index (N,) of each set and the set at a place; 0 if both are empty."""
        first = self.first_N[place]
        is_shared_M = np.isin(self.code_M, self.code_M[first : first + self.size_N[place]])
        shared_N = np.bincount(self.set_M[is_shared_M], minlength=len(self.size_N)).astype(np.float64)
        return shared_N / np.maximum(self.size_N + self.size_N[place] - shared_N, 1)


class _Marginal(Turn):
    """Marginal relevance; `alike` returns the similarity (N,) of each candidate to the one at a place."""

    def __init__(self, weight: float, alike: Callable[[int], np.ndarray]) -> None:
        self.weight, self.alike = weight, alike
        self.nearest_N: np.ndarray | None = None

    def took(self, place: int) -> tuple[()]:
        alike_N = self.alike(place)
        self.nearest_N = alike_N if self.nearest_N is None else np.maximum(self.nearest_N, alike_N)
        return ()

    def score(self, scores_N: np.ndarray) -> np.ndarray:
        low, high = scores_N.min(), scores_N.max()
        scaled_N = (scores_N - low) / (high - low if high > low else 1)
        return (1 - self.weight) * scaled_N - (0 if self.nearest_N is None else self.weight * self.nearest_N)
