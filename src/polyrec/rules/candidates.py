"""Candidates for a list, and the list. Shape letters: N candidates, D width of an item's vector, K items of the list."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from polyrec.data.conditions.expressions import require_columns
from polyrec.data.keys import Keys


@dataclass(frozen=True)
class Candidates:
    """Items that may be shown, the best first, with their scores and columns."""

    rows_N: np.ndarray
    """Row of each candidate in the catalogue."""
    scores_N: np.ndarray
    """Fused score of each candidate in double precision."""
    items: pl.DataFrame
    """The complete catalogue."""
    key: str
    """Column of the item's key."""
    vectors_ND: np.ndarray | None = None
    """Vector of each candidate, of length one; None if the model has no item vectors."""
    keys: Keys | None = None
    """Index from key to catalogue row; unset, keys are looked up by scanning all candidates."""

    def __len__(self) -> int:
        return len(self.rows_N)

    def columns(self, *names: str) -> pl.DataFrame:
        """Return some columns of the candidates; raises `UserError` if the catalogue lacks one."""
        require_columns(self.items, names, "a rule on the catalogue")
        return self.items.select(list(dict.fromkeys(names)))[self.rows_N]

    def values(self, column: str) -> list[frozenset[Hashable]]:
        """Return the set of each candidate's values in a column: the elements of its list, its single value, or none."""
        series = self.columns(column)[column]
        if isinstance(series.dtype, pl.List | pl.Array):
            return [frozenset(() if elements is None else elements) - {None} for elements in series.to_list()]
        return [frozenset(() if value is None else (value,)) for value in series.to_list()]

    def places(self, keys: Iterable[int | str]) -> list[int | None]:
        """Return the position of each key among the candidates, or None if it is no candidate. `"42"` and 42 are one key."""
        if self.keys is not None:
            order_N = np.argsort(self.rows_N, kind="stable")
            rows = np.array([-1 if (row := self.keys.find([key])[0]) is None else row for key in keys], dtype=np.int64)
            nearest = order_N[np.searchsorted(self.rows_N, rows, sorter=order_N).clip(max=len(self) - 1)] if len(self) else rows
            matches = zip(nearest, rows, strict=True)
            return [int(place) if len(self) and self.rows_N[place] == row else None for place, row in matches]
        names = self.columns(self.key)[self.key].cast(pl.String).to_list()
        place_of = dict(zip(names, range(len(names)), strict=True))
        return [place_of.get(str(key)) for key in keys]

    def where(self, keep_N: np.ndarray) -> Candidates:
        """Return the candidates for which `keep_N` is true."""
        vectors_ND = None if self.vectors_ND is None else self.vectors_ND[keep_N]
        return replace(self, rows_N=self.rows_N[keep_N], scores_N=self.scores_N[keep_N], vectors_ND=vectors_ND)


@dataclass(frozen=True)
class Listed:
    """The list that is shown, from the top."""

    rows_K: np.ndarray
    """Rows of the catalogue."""
    scores_K: np.ndarray
    """Fused scores of the candidates."""
    propensities_K: np.ndarray
    """Probability of each item to appear at its position, given the items above it; 1 without randomness."""
    notes: tuple[str, ...] = ()
    """Sentences about pins that could not be applied."""
