"""Exact: product with every vector. Shape letters: N positions, D width, Q queries, P allowed positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from polyrec.index.index import Index, checked

_GATHERED = 4
"""Cost of reading a vector at an arbitrary position, relative to sequential reading."""

_CELLS = 2**24
"""Maximum number of products in memory at a time."""


class Exact(Index):
    """Exact search: computes the product with every vector, or with every allowed one.

    A million vectors of width 64 take some 11 ms of one core. Nothing is learned, so that building is immediate.
    """

    @classmethod
    def build(cls, vectors_ND: np.ndarray) -> Self:
        """Return an index of vectors, in which vector n has row n."""
        vectors_ND = checked(vectors_ND)
        return cls(vectors_ND, np.arange(len(vectors_ND)))

    def _examine(
        self, queries_QD: np.ndarray, k: int, position_P: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        vectors_ND, selected_P = self.vectors_ND, position_P
        if position_P is not None and len(position_P) * _GATHERED < len(vectors_ND):
            vectors_ND, selected_P = np.take(vectors_ND, position_P, axis=0), None
        size = max(_CELLS // max(len(vectors_ND), 1), 1)
        for start in range(0, len(queries_QD), size):
            for score_N in queries_QD[start : start + size] @ vectors_ND.T:
                yield position_P, score_N if selected_P is None else score_N[selected_P]

    def _laid(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> Self:
        order_N = np.argsort(rows_N)
        return type(self)(vectors_ND[order_N], rows_N[order_N])
