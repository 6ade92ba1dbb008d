"""`Index`: inner-product search among vectors that can be added, replaced and removed.

Shape letters: N positions of vectors, D width, I rows of the catalogue, Q queries, K rows per result, P positions examined, S
vectors added after the index was built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Self

import numpy as np

from polyrec.core.errors import UserError

_ROUNDING = float(np.finfo(np.float32).eps)
"""Twice the relative rounding error of one float32 operation."""

_LONGEST = 1.001
"""Maximum length of a vector that counts as normalised."""


@dataclass(frozen=True)
class Found:
    """The rows nearest to each query, nearest first; ties by ascending row."""

    rows_QK: np.ndarray
    """Rows of the catalogue, -1 if there are fewer than requested."""
    scores_QK: np.ndarray
    """Inner products with the query in double precision, -inf where there is no row."""


@dataclass(frozen=True)
class _Changes:
    """Changes since the index was built. Instances are never modified, so that a search uses one consistent state."""

    gone_N: np.ndarray
    """Mask of the positions whose vectors were removed or replaced."""
    rows_S: np.ndarray
    vectors_SD: np.ndarray


class Index(ABC):
    """Vectors of length one (or zero), each identified by its row in the catalogue.

    Vectors added by `put` are kept in a short separate list, which every search reads entirely; vectors that were removed or
    replaced keep their position and are skipped. `compacted` returns an index without either. Searches may run in several
    threads, also while another thread changes vectors. Candidates are selected by products in single precision and ordered by
    products in double precision: equal vectors have equal scores, regardless of the kind of index, the filter and the number of
    queries.
    """

    def __init__(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> None:
        self.vectors_ND, self.rows_N = vectors_ND, rows_N
        self._position_I = np.full(rows_N.max(initial=-1) + 1, -1, dtype=np.int32)
        self._position_I[rows_N] = np.arange(len(rows_N), dtype=np.int32)
        none = np.zeros(len(rows_N), dtype=bool)
        self._changes = _Changes(none, np.zeros(0, dtype=np.int64), np.zeros((0, self.width), dtype=np.float32))
        self._lock = Lock()

    @property
    def width(self) -> int:
        """Width D of the vectors."""
        return self.vectors_ND.shape[1]

    def __len__(self) -> int:
        changes = self._changes
        return len(self.rows_N) - int(changes.gone_N.sum()) + len(changes.rows_S)

    @property
    def pending(self) -> int:
        """Number of vectors added since the index was built; some thousands of them slow searches down."""
        return len(self._changes.rows_S)

    def put(self, rows: Sequence[int] | np.ndarray, vectors_SD: np.ndarray) -> None:
        """Add vectors for new rows, or replace those of existing rows."""
        rows_S, vectors_SD = _rows(rows), checked(vectors_SD, self.width)
        if len(rows_S) != len(vectors_SD) or len(_distinct(rows_S)) != len(rows_S):
            found = f"{len(rows_S)} rows, {len(_distinct(rows_S))} of them different, and {len(vectors_SD)} vectors"
            raise UserError("rows of an index", expected="one vector a row", found=found, remedy="Pass each row once.")
        with self._lock:
            left = self._without(rows_S)
            joined_S, joined_SD = np.concatenate([left.rows_S, rows_S]), np.concatenate([left.vectors_SD, vectors_SD])
            self._changes = _Changes(left.gone_N, joined_S, joined_SD)

    def remove(self, rows: Sequence[int] | np.ndarray) -> int:
        """Remove the vectors of these rows and return how many of the rows had one."""
        with self._lock:
            before = len(self)
            self._changes = self._without(_rows(rows))
            return before - len(self)

    def search(self, queries_QD: np.ndarray, k: int, keep: np.ndarray | None = None) -> Found:
        """Return the k rows with the highest inner product with each query.

        `keep` are the allowed rows, as a mask over the catalogue, (I,), or as row numbers; rows beyond the end of the mask are
        excluded.
        """
        queries_QD = checked(queries_QD, self.width, longest=np.inf)
        if k < 1:
            raise UserError("k", expected="a number of rows, 1 or more", found=f"{k}", remedy="Request at least one.")
        changes = self._changes
        position_P, is_kept_S = None, np.ones(len(changes.rows_S), dtype=bool)
        if keep is not None:
            rows = np.flatnonzero(keep) if keep.dtype == bool else _distinct(_rows(keep))
            position_P, is_kept_S = self._positions(rows), _is_among(changes.rows_S, rows)
        margin_Q = self.width * _ROUNDING * np.linalg.norm(queries_QD, axis=1)
        result = Found(np.full((len(queries_QD), k), -1, dtype=np.int64), np.full((len(queries_QD), k), -np.inf))
        for query, (examined_P, score_P) in enumerate(self._examine(queries_QD, k, position_P)):
            if changes.gone_N.any():
                score_P[changes.gone_N if examined_P is None else changes.gone_N[examined_P]] = -np.inf
            best = _highest(score_P, k, margin_Q[query])
            position = best if examined_P is None else examined_P[best]
            row = np.concatenate([self.rows_N[position], changes.rows_S[is_kept_S]])
            vector = np.concatenate([self.vectors_ND[position], changes.vectors_SD[is_kept_S]])
            score = (vector.astype(np.float64) * queries_QD[query].astype(np.float64)).sum(1)
            order = np.lexsort((row, -score))[:k]
            result.rows_QK[query, : len(order)], result.scores_QK[query, : len(order)] = row[order], score[order]
        return result

    def compacted(self) -> Self:
        """Return an index of the same kind without pending or skipped vectors."""
        changes = self._changes
        vectors_ND = np.concatenate([self.vectors_ND[~changes.gone_N], changes.vectors_SD])
        return self._laid(vectors_ND, np.concatenate([self.rows_N[~changes.gone_N], changes.rows_S]))

    @abstractmethod
    def _examine(
        self, queries_QD: np.ndarray, k: int, position_P: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        """Yield, for each query, the examined positions (None for all) and their products, which the caller may modify.

        `position_P` are the allowed positions in ascending order; None for all.
        """

    @abstractmethod
    def _laid(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> Self:
        """Return an index of other vectors with the learned parameters of this one."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors by name that a file contains in addition to vectors and rows."""
        return {}

    def _positions(self, rows: np.ndarray) -> np.ndarray:
        """Return the ascending positions of the given rows (ascending, distinct) that have one."""
        position = self._position_I[rows[: np.searchsorted(rows, len(self._position_I))]]
        return np.sort(position[position >= 0])

    def _without(self, rows: np.ndarray) -> _Changes:
        """Return the changes after removing these rows."""
        changes, gone_N = self._changes, self._changes.gone_N.copy()
        distinct = _distinct(rows)
        gone_N[self._positions(distinct)] = True
        left_S = ~_is_among(changes.rows_S, distinct)
        return _Changes(gone_N, changes.rows_S[left_S], changes.vectors_SD[left_S])


def checked(vectors_ND: np.ndarray, width: int | None = None, longest: float = _LONGEST) -> np.ndarray:
    """Return vectors as float32, one per line; raise `UserError` unless they are a finite table of vectors that are not too
    long."""
    table_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
    if table_ND.ndim != 2 or table_ND.shape[1] != (table_ND.shape[1] if width is None else width) or table_ND.shape[1] == 0:
        expected = "a table of vectors" if width is None else f"a table of vectors of width {width}"
        raise UserError("vectors", expected=expected, found=f"the shape {table_ND.shape}", remedy="Pass one vector per line.")
    length_N = np.sqrt(np.einsum("nd,nd->n", table_ND, table_ND))
    if not (length_N <= longest).all() or not np.isfinite(length_N).all():
        line = int(np.flatnonzero(~(length_N <= longest) | ~np.isfinite(length_N))[0])
        found = f"length {length_N[line]:.4g} in line {line}"
        raise UserError("vectors", expected="vectors of length one", found=found, remedy="Divide each by its length.")
    return table_ND


def _rows(rows: Sequence[int] | np.ndarray) -> np.ndarray:
    numbers = np.asarray(rows, dtype=np.int64)
    if numbers.ndim != 1 or numbers.min(initial=0) < 0:
        found = f"{numbers.min(initial=0)}" if numbers.ndim == 1 else f"the shape {numbers.shape}"
        raise UserError("rows of an index", expected="row numbers, from 0", found=found, remedy="Check the rows.")
    return numbers


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Return the distinct rows in ascending order; numpy's `unique` takes a hundred times as long for sorted rows."""
    ordered = np.sort(rows)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _is_among(rows: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return a mask of the rows that occur in an ascending array."""
    return ordered.searchsorted(rows, "right") > ordered.searchsorted(rows, "left")


def _highest(score_P: np.ndarray, k: int, margin: float) -> np.ndarray:
    """Return the positions of the k highest scores and of those within a margin below, without -inf, in any order."""
    if len(score_P) <= k:
        return np.flatnonzero(score_P > -np.inf)
    lowest = np.partition(score_P, len(score_P) - k)[len(score_P) - k]
    return np.flatnonzero((score_P >= lowest - margin) & (score_P > -np.inf))
