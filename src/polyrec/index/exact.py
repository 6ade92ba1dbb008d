"""Exact: a product with every vector. Shape letters: N places, D width, Q queries, P places that may be found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from polyrec.index.index import Index, checked

_GATHERED = 4
"""What it costs to read a vector somewhere in memory, in terms of one that is read in passing."""

_CELLS = 2**24
"""Products that are held at a time."""


class Exact(Index):
    """Looks at every vector, or at every one that may be found: the right rows, always.

    A million vectors of width 64 take some 11 ms of one core. Nothing is learned, so that it is built at once.
    """

    @classmethod
    def build(cls, vectors_ND: np.ndarray) -> Self:
        """Return an index of vectors, the first of row 0."""
        vectors_ND = checked(vectors_ND)
        return cls(vectors_ND, np.arange(len(vectors_ND)))

    def _examine(
        self, queries_QD: np.ndarray, k: int, place_P: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        vectors_ND, left_P = self.vectors_ND, place_P
        if place_P is not None and len(place_P) * _GATHERED < len(vectors_ND):
            vectors_ND, left_P = np.take(vectors_ND, place_P, axis=0), None
        size = max(_CELLS // max(len(vectors_ND), 1), 1)
        for start in range(0, len(queries_QD), size):
            for score_N in queries_QD[start : start + size] @ vectors_ND.T:
                yield place_P, score_N if left_P is None else score_N[left_P]

    def _laid(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> Self:
        order_N = np.argsort(rows_N)
        return type(self)(vectors_ND[order_N], rows_N[order_N])
