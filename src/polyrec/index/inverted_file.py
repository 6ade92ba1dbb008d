"""InvertedFile: lists of vectors that are near each other, of which a query reads the nearest.

Shape letters: N places, D width, L lists, Q queries, P places that may be found.
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
"""Numbers of nearest vectors of which the share asked for is to be found."""

_FEW = 4_096
"""Vectors that may be found, of which all are looked at before lists are put in order."""

_TRIED, _ROUNDS, _SAMPLED = 128, 10, 64
"""Queries that are tried, rounds of k-means, and vectors for each centroid that it learns from."""


class InvertedFile(Index):
    """Vectors in lists around centroids of k-means, the inverted file of Jégou, Douze & Schmid (TPAMI 2011) without codes.

    A query reads lists, the nearest centroid first, until it has looked at enough vectors. How many are enough is read off
    when the index is built: `budget(k)` vectors hold the share `recall` of the farther half of the k nearest of queries that
    are tried, and more of the nearer half. Under a filter the k nearest of those kept are the k kept ones among the d nearest
    of all, so that lists of `budget(d)` vectors are read; d is the number of vectors in the nearest lists that hold k kept
    ones. Where few are kept, all of them are looked at. Faiss's `IndexIVFFlat` reads a fixed number of lists, under a filter
    too, where its recall falls.
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
        """Learn centroids and budgets and return an index of vectors, the first of row 0.

        `queries_QD` are queries like those to come, of which at most 128 are tried; unset, some of the vectors stand for them.
        Unset, there are `4 sqrt(N)` lists. A bar tells the `progress`.
        """
        vectors_ND, generator = checked(vectors_ND), np.random.default_rng(seed)
        lists = math.ceil(4 * math.sqrt(len(vectors_ND))) if lists is None else lists
        if not 1 <= lists <= len(vectors_ND):
            remedy = "Use an Exact index."
            raise UserError("lists", expected=f"1 to {len(vectors_ND)}, the vectors", found=f"{lists}", remedy=remedy)
        if not 0 < recall <= 1:
            raise UserError("recall", expected="a share, above 0 and at most 1", found=f"{recall}", remedy="Try 0.97.")
        sample_ND = _drawn(vectors_ND, lists * _SAMPLED, generator)
        rounds = tracked(range(_ROUNDS), "lists", disable=not progress)
        centroids_LD = spherical_k_means(sample_ND, lists, rounds, generator)
        made = cls._of(vectors_ND, np.arange(len(vectors_ND)), nearest(vectors_ND, centroids_LD), centroids_LD, np.ones(1))
        tried_QD = vectors_ND if queries_QD is None else checked(queries_QD, made.width, longest=np.inf)
        made.budgets = made._budgets(_drawn(tried_QD, _TRIED, generator), recall)
        return made

    @classmethod
    def _of(
        cls, vectors_ND: np.ndarray, rows_N: np.ndarray, list_N: np.ndarray, centroids_LD: np.ndarray, budgets: np.ndarray
    ) -> Self:
        """Return an index of vectors whose lists are known."""
        order_N = np.lexsort((rows_N, list_N))
        offsets = np.concatenate([[0], np.bincount(list_N, minlength=len(centroids_LD)).cumsum()])
        return cls(vectors_ND[order_N], rows_N[order_N], centroids_LD, offsets, budgets)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"centroids": self.centroids_LD, "offsets": self.offsets, "budgets": self.budgets}

    def _laid(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> Self:
        list_N = nearest(vectors_ND, self.centroids_LD)
        return self._of(vectors_ND, rows_N, list_N, self.centroids_LD, self.budgets)

    def _examine(
        self, queries_QD: np.ndarray, k: int, place_P: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        if place_P is not None and len(place_P) <= self._few(k, len(place_P)):
            vectors_PD = np.take(self.vectors_ND, place_P, axis=0)
            yield from ((place_P, vectors_PD @ query_D) for query_D in queries_QD)
            return
        bounds = self.offsets if place_P is None else np.searchsorted(place_P, self.offsets)
        for query_D in queries_QD:
            order_L = self._order(query_D)
            read_L = np.diff(self.offsets)[order_L].cumsum()
            depth = float(k)
            if place_P is not None:
                kept_L = np.diff(bounds)[order_L].cumsum()
                depth = float(np.interp(k, np.concatenate([[0], kept_L]), np.concatenate([[0], read_L])))
            nearest_L = order_L[: np.searchsorted(read_L, self.budget(depth)) + 1]
            spans = list(zip(bounds[nearest_L].tolist(), bounds[nearest_L + 1].tolist(), strict=True))
            if place_P is None:
                place = np.concatenate([np.arange(start, end) for start, end in spans])
                yield place, np.concatenate([self.vectors_ND[start:end] @ query_D for start, end in spans])
            else:
                place = np.concatenate([place_P[start:end] for start, end in spans])
                yield place, np.take(self.vectors_ND, place, axis=0) @ query_D

    def _few(self, k: int, kept: int) -> float:
        """Return how many vectors, if so many are kept, are no more work to look at than lists are to put in order."""
        return max(4 * kept / len(self.rows_N) * self.budget(k * len(self.rows_N) / kept), _FEW) if kept else 0

    def _order(self, query_D: np.ndarray) -> np.ndarray:
        """Return the lists in the order in which a query reads them."""
        return np.argsort(-(self.centroids_LD @ query_D), kind="stable")

    def budget(self, depth: float) -> float:
        """Return how many vectors are looked at for so many of the nearest: between depths that were tried, on a line of
        logarithms, and in proportion to the depth beyond them."""
        depths = _DEPTHS[: len(self.budgets)]
        within = np.exp(np.interp(math.log(depth), np.log(depths), np.log(self.budgets)))
        return min(float(within) * max(depth / depths[-1], 1), len(self.rows_N))

    def _budgets(self, queries_QD: np.ndarray, recall: float) -> np.ndarray:
        """Return how many vectors must be looked at so that the share `recall` is among them of the farther half of the
        nearest, by depth.

        It is read off where the nearest vectors stand in the order of reading: no search is tried.
        """
        whole = Exact(self.vectors_ND, np.arange(len(self.vectors_ND)))
        depths = [depth for depth in _DEPTHS if depth <= len(whole)] or [len(whole)]
        places_QK = whole.search(queries_QD, depths[-1]).rows_QK
        list_QK = np.searchsorted(self.offsets, places_QK, side="right") - 1
        read_QK = np.zeros(list_QK.shape)
        for query, query_D in enumerate(queries_QD):
            order_L = self._order(query_D)
            until_L = np.empty(len(order_L))
            until_L[order_L] = np.diff(self.offsets)[order_L].cumsum()
            read_QK[query] = until_L[list_QK[query]]
        return np.array([np.quantile(read_QK[:, depth // 2 : depth], recall, method="higher") for depth in depths])


def _drawn(vectors_ND: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return at most so many of the vectors."""
    if len(vectors_ND) <= count:
        return vectors_ND
    return vectors_ND[np.sort(generator.choice(len(vectors_ND), count, replace=False))]
