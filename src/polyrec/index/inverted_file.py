"""InvertedFile: lists of vectors near each other, of which a query reads the nearest ones.

Shape letters: N positions, D width, L lists, Q queries, P allowed positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Self

import numpy as np

from polyrec.core.errors import UserError
from polyrec.core.progress import tracked
from polyrec.index.exact import Exact
from polyrec.index.index import Index, checked
from polyrec.index.k_means import nearest, spherical_k_means

_DEPTHS = np.array([10, 100, 1_000, 10_000])
"""Numbers of nearest neighbours at which the recall is measured."""

_FEW = 4_096
"""Number of allowed vectors up to which all are examined instead of sorting lists."""

_TRIED, _ROUNDS, _SAMPLED = 128, 10, 64
"""Number of test queries, of k-means iterations, and of training vectors per centroid."""


class InvertedFile(Index):
    """Vectors in lists around k-means centroids, the inverted file of Jégou, Douze & Schmid (TPAMI 2011) without codes.

    A query reads lists, the nearest centroid first, until it has examined enough vectors. The number is measured when the index
    is built: `budget(k)` vectors contain the fraction `recall` of the farther half of the k nearest neighbours of test queries,
    and more of the nearer half. With a filter, the k nearest allowed vectors are the k allowed ones among the d nearest of all,
    so that lists of `budget(d)` vectors are read; d is the number of vectors in the nearest lists that contain k allowed ones.
    If few vectors are allowed, all of them are examined. Faiss's `IndexIVFFlat` reads a fixed number of lists with and without
    a filter; with a filter its recall decreases.
    """

    def __init__(
        self, vectors_ND: np.ndarray, rows_N: np.ndarray, centroids_LD: np.ndarray, offsets: np.ndarray, budgets: np.ndarray
    ) -> None:
        super().__init__(vectors_ND, rows_N)
        self.centroids_LD, self.offsets, self.budgets = centroids_LD, offsets, budgets

    @classmethod
    def build(
        cls,
        vectors_ND: np.ndarray,
        *,
        queries_QD: np.ndarray | None = None,
        recall: float = 0.97,
        lists: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Learn centroids and budgets, and return an index of vectors, in which vector n has row n.

        `queries_QD` are queries like those in use, of which at most 128 are tested; if unset, some of the vectors are used. If
        unset, the number of lists is `4 sqrt(N)`. Set `progress` to show a progress bar.
        """
        vectors_ND, generator = checked(vectors_ND), np.random.default_rng(seed)
        lists = math.ceil(4 * math.sqrt(len(vectors_ND))) if lists is None else lists
        if not 1 <= lists <= len(vectors_ND):
            remedy = "Use an Exact index."
            raise UserError("lists", expected=f"1 to {len(vectors_ND)}, the vectors", found=f"{lists}", remedy=remedy)
        if not 0 < recall <= 1:
            raise UserError("recall", expected="a fraction, above 0 and at most 1", found=f"{recall}", remedy="Try 0.97.")
        sample_ND = _drawn(vectors_ND, lists * _SAMPLED, generator)
        rounds = tracked(range(_ROUNDS), "lists", disable=not progress)
        centroids_LD = spherical_k_means(sample_ND, lists, rounds, generator)
        index = cls._of(vectors_ND, np.arange(len(vectors_ND)), nearest(vectors_ND, centroids_LD), centroids_LD, np.ones(1))
        test_QD = vectors_ND if queries_QD is None else checked(queries_QD, index.width, longest=np.inf)
        index.budgets = index._budgets(_drawn(test_QD, _TRIED, generator), recall)
        return index

    @classmethod
    def _of(
        cls, vectors_ND: np.ndarray, rows_N: np.ndarray, list_N: np.ndarray, centroids_LD: np.ndarray, budgets: np.ndarray
    ) -> Self:
        """Return an index of vectors with given lists."""
        order_N = np.lexsort((rows_N, list_N))
        offsets = np.concatenate([[0], np.bincount(list_N, minlength=len(centroids_LD)).cumsum()])
        return cls(vectors_ND[order_N], rows_N[order_N], centroids_LD, offsets, budgets)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"centroids": self.centroids_LD, "offsets": self.offsets, "budgets": self.budgets}

    def _laid(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> Self:
        list_N = nearest(vectors_ND, self.centroids_LD)
        return self._of(vectors_ND, rows_N, list_N, self.centroids_LD, self.budgets)

    def _examine(
        self, queries_QD: np.ndarray, k: int, position_P: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        if position_P is not None and len(position_P) <= self._few(k, len(position_P)):
            vectors_PD = np.take(self.vectors_ND, position_P, axis=0)
            yield from ((position_P, vectors_PD @ query_D) for query_D in queries_QD)
            return
        bounds = self.offsets if position_P is None else np.searchsorted(position_P, self.offsets)
        for query_D in queries_QD:
            order_L = self._order(query_D)
            read_L = np.diff(self.offsets)[order_L].cumsum()
            depth = float(k)
            if position_P is not None:
                kept_L = np.diff(bounds)[order_L].cumsum()
                depth = float(np.interp(k, np.concatenate([[0], kept_L]), np.concatenate([[0], read_L])))
            nearest_L = order_L[: np.searchsorted(read_L, self.budget(depth)) + 1]
            spans = list(zip(bounds[nearest_L].tolist(), bounds[nearest_L + 1].tolist(), strict=True))
            if position_P is None:
                position = np.concatenate([np.arange(start, end) for start, end in spans])
                yield position, np.concatenate([self.vectors_ND[start:end] @ query_D for start, end in spans])
            else:
                position = np.concatenate([position_P[start:end] for start, end in spans])
                yield position, np.take(self.vectors_ND, position, axis=0) @ query_D

    def _few(self, k: int, kept: int) -> float:
        """Return up to how many allowed vectors examining all of them is no slower than sorting lists."""
        return max(4 * kept / len(self.rows_N) * self.budget(k * len(self.rows_N) / kept), _FEW) if kept else 0

    def _order(self, query_D: np.ndarray) -> np.ndarray:
        """Return the lists in the order in which a query reads them."""
        return np.argsort(-(self.centroids_LD @ query_D), kind="stable")

    def budget(self, depth: float) -> float:
        """Return the number of vectors to examine for the `depth` nearest neighbours.

        It is interpolated linearly in logarithms between measured depths, and proportional to the depth beyond them.
        """
        depths = _DEPTHS[: len(self.budgets)]
        within = np.exp(np.interp(math.log(depth), np.log(depths), np.log(self.budgets)))
        return min(float(within) * max(depth / depths[-1], 1), len(self.rows_N))

    def _budgets(self, queries_QD: np.ndarray, recall: float) -> np.ndarray:
        """Return the number of vectors to examine, by depth, to find the fraction `recall` of the farther half of the
        neighbours.

        It is derived from the positions of the exact neighbours in the reading order, without running searches.
        """
        exact = Exact(self.vectors_ND, np.arange(len(self.vectors_ND)))
        depths = [depth for depth in _DEPTHS if depth <= len(exact)] or [len(exact)]
        positions_QK = exact.search(queries_QD, depths[-1]).rows_QK
        list_QK = np.searchsorted(self.offsets, positions_QK, side="right") - 1
        read_QK = np.zeros(list_QK.shape)
        for query, query_D in enumerate(queries_QD):
            order_L = self._order(query_D)
            until_L = np.empty(len(order_L))
            until_L[order_L] = np.diff(self.offsets)[order_L].cumsum()
            read_QK[query] = until_L[list_QK[query]]
        return np.array([np.quantile(read_QK[:, depth // 2 : depth], recall, method="higher") for depth in depths])


def _drawn(vectors_ND: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return at most `count` of the vectors, drawn at random in their order."""
    if len(vectors_ND) <= count:
        return vectors_ND
    return vectors_ND[np.sort(generator.choice(len(vectors_ND), count, replace=False))]
