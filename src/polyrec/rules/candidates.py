"""What rules make a list of, and the list. Shape letters: N candidates, D width of an item's vector, K items of the list."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from polyrec.data.conditions.expressions import require_columns
from polyrec.data.keys import Keys


@dataclass(frozen=True)
class Candidates:
    """Items that may be shown, the best first, with what is known of them."""

    rows_N: np.ndarray
    """Their rows in the catalogue."""
    scores_N: np.ndarray
    """Their fused scores in double precision."""
    items: pl.DataFrame
    """The whole catalogue, to which the rows point."""
    key: str
    """Column of the item's key."""
    vectors_ND: np.ndarray | None = None
    """The candidates' vectors of length one, where there are any."""
    keys: Keys | None = None
    """Where each item of the catalogue stands in it, where that is known: items are found without a look at all of them."""

    def __len__(self) -> int:
        return len(self.rows_N)

    def columns(self, *names: str) -> pl.DataFrame:
        """Return some columns of the candidates; one that the catalogue lacks is refused."""
        require_columns(self.items, names, "a rule on the catalogue")
        return self.items.select(list(dict.fromkeys(names)))[self.rows_N]

    def values(self, column: str) -> list[frozenset[Hashable]]:
        """Return the values that each candidate has in a column: those of its list, its one value, or none."""
        series = self.columns(column)[column]
        if isinstance(series.dtype, pl.List | pl.Array):
            return [frozenset(() if own is None else own) - {None} for own in series.to_list()]
        return [frozenset(() if own is None else (own,)) for own in series.to_list()]

    def places(self, keys: Iterable[int | str]) -> list[int | None]:
        """Return where items stand among the candidates, by key; None for those that do not. `"42"` and 42 are one key."""
        if self.keys is not None:
            order_N = np.argsort(self.rows_N, kind="stable")
            rows = np.array([-1 if (row := self.keys.find([key])[0]) is None else row for key in keys], dtype=np.int64)
            place = order_N[np.searchsorted(self.rows_N, rows, sorter=order_N).clip(max=len(self) - 1)] if len(self) else rows
            return [int(own) if len(self) and self.rows_N[own] == row else None for own, row in zip(place, rows, strict=True)]
        own = self.columns(self.key)[self.key].cast(pl.String).to_list()
        found = dict(zip(own, range(len(own)), strict=True))
        return [found.get(str(key)) for key in keys]

    def where(self, keep_N: np.ndarray) -> Candidates:
        """Return those for which it is true."""
        vectors_ND = None if self.vectors_ND is None else self.vectors_ND[keep_N]
        return replace(self, rows_N=self.rows_N[keep_N], scores_N=self.scores_N[keep_N], vectors_ND=vectors_ND)


@dataclass(frozen=True)
class Listed:
    """What is shown, from the top."""

    rows_K: np.ndarray
    """Rows of the catalogue."""
    scores_K: np.ndarray
    """Fused scores, as the candidates had them."""
    propensities_K: np.ndarray
    """The probability of each item to stand where it stands, given the items above it: 1 where nothing was left to chance."""
    notes: tuple[str, ...] = ()
    """What could not be done, in sentences."""
