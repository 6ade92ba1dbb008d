"""`Index`: vectors that are searched by inner product while single ones come, change and go.

Shape letters: N places of vectors, D width, I rows of the catalogue, Q queries, K rows found, P places examined, S vectors
that came after the index was built.
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
"""What one operation in single precision may be off, twice."""

_LONGEST = 1.001
"""Length up to which a vector counts as one of length one."""


@dataclass(frozen=True)
class Found:
    """The rows nearest to each query, the nearest first; of equally near ones the earlier row."""

    rows_QK: np.ndarray
    """Rows of the catalogue, -1 where there are fewer than were asked for."""
    scores_QK: np.ndarray
    """Their inner products with the query in double precision, -inf where there is no row."""


@dataclass(frozen=True)
class _Changes:
    """What has changed since the index was built; never altered, so that a search reads one state from end to end."""

    gone_N: np.ndarray
    """Which places hold vectors that were removed or replaced."""
    rows_S: np.ndarray
    vectors_SD: np.ndarray


class Index(ABC):
    """Vectors of length one (or zero), each under the number of its row in the catalogue.

    Vectors that `put` brings stand in a short list of their own, which every search reads whole; vectors that were removed or
    replaced keep their place and are passed over. `compacted` makes an index without either. Searches may run in several
    threads, also while another thread changes vectors. Products are computed in single precision to find the candidates,
    and once more in double precision to order them: equal vectors have equal scores, whatever the kind of index, the filter
    and the number of queries.
    """

    def __init__(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> None:
        self.vectors_ND, self.rows_N = vectors_ND, rows_N
        self._place_I = np.full(rows_N.max(initial=-1) + 1, -1, dtype=np.int32)
        self._place_I[rows_N] = np.arange(len(rows_N), dtype=np.int32)
        none = np.zeros(len(rows_N), dtype=bool)
        self._changes = _Changes(none, np.zeros(0, dtype=np.int64), np.zeros((0, self.width), dtype=np.float32))
        self._lock = Lock()

    @property
    def width(self) -> int:
        """Numbers of a vector, D."""
        return self.vectors_ND.shape[1]

    def __len__(self) -> int:
        changes = self._changes
        return len(self.rows_N) - int(changes.gone_N.sum()) + len(changes.rows_S)

    @property
    def pending(self) -> int:
        """Number of vectors that came since the index was built; some thousands of them slow searches down."""
        return len(self._changes.rows_S)

    def put(self, rows: Sequence[int] | np.ndarray, vectors_SD: np.ndarray) -> None:
        """Add vectors under new rows, or put them in the place of those that the rows had."""
        rows_S, vectors_SD = _rows(rows), checked(vectors_SD, self.width)
        if len(rows_S) != len(vectors_SD) or len(_distinct(rows_S)) != len(rows_S):
            found = f"{len(rows_S)} rows, {len(_distinct(rows_S))} of them different, and {len(vectors_SD)} vectors"
            raise UserError("rows of an index", expected="one vector a row", found=found, remedy="Give each row once.")
        with self._lock:
            left = self._without(rows_S)
            joined_S, joined_SD = np.concatenate([left.rows_S, rows_S]), np.concatenate([left.vectors_SD, vectors_SD])
            self._changes = _Changes(left.gone_N, joined_S, joined_SD)

    def remove(self, rows: Sequence[int] | np.ndarray) -> int:
        """Remove the vectors of rows and return how many of the rows had one."""
        with self._lock:
            before = len(self)
            self._changes = self._without(_rows(rows))
            return before - len(self)

    def search(self, queries_QD: np.ndarray, k: int, keep: np.ndarray | None = None) -> Found:
        """Return the k rows with the highest inner product with each query.

        `keep` are the rows that may be found, as booleans over the catalogue, (I,), or as row numbers; rows beyond the end of
        the booleans may not.
        """
        queries_QD = checked(queries_QD, self.width, longest=np.inf)
        if k < 1:
            raise UserError("k", expected="a number of rows, 1 or more", found=f"{k}", remedy="Ask for at least one.")
        changes = self._changes
        place_P, of_side_S = None, np.ones(len(changes.rows_S), dtype=bool)
        if keep is not None:
            rows = np.flatnonzero(keep) if keep.dtype == bool else _distinct(_rows(keep))
            place_P, of_side_S = self._places(rows), _is_among(changes.rows_S, rows)
        margin_Q = self.width * _ROUNDING * np.linalg.norm(queries_QD, axis=1)
        found = Found(np.full((len(queries_QD), k), -1, dtype=np.int64), np.full((len(queries_QD), k), -np.inf))
        for query, (examined_P, score_P) in enumerate(self._examine(queries_QD, k, place_P)):
            if changes.gone_N.any():
                score_P[changes.gone_N if examined_P is None else changes.gone_N[examined_P]] = -np.inf
            best = _highest(score_P, k, margin_Q[query])
            place = best if examined_P is None else examined_P[best]
            row = np.concatenate([self.rows_N[place], changes.rows_S[of_side_S]])
            vector = np.concatenate([self.vectors_ND[place], changes.vectors_SD[of_side_S]])
            score = (vector.astype(np.float64) * queries_QD[query].astype(np.float64)).sum(1)
            order = np.lexsort((row, -score))[:k]
            found.rows_QK[query, : len(order)], found.scores_QK[query, : len(order)] = row[order], score[order]
        return found

    def compacted(self) -> Self:
        """Return an index of the same kind in which nothing is pending and nothing is passed over."""
        changes = self._changes
        vectors_ND = np.concatenate([self.vectors_ND[~changes.gone_N], changes.vectors_SD])
        return self._laid(vectors_ND, np.concatenate([self.rows_N[~changes.gone_N], changes.rows_S]))

    @abstractmethod
    def _examine(
        self, queries_QD: np.ndarray, k: int, place_P: np.ndarray | None
    ) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        """Yield, for each query, the places looked at (None for all) and their products, which the caller may alter.

        `place_P` are the places that may be found, in order; None for all.
        """

    @abstractmethod
    def _laid(self, vectors_ND: np.ndarray, rows_N: np.ndarray) -> Self:
        """Return an index of other vectors that has learned what this one has."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what a file holds of the index, by name, beside its vectors and rows."""
        return {}

    def _places(self, rows: np.ndarray) -> np.ndarray:
        """Return the places of those of some rows, in order and distinct, that have one; in order."""
        place = self._place_I[rows[: np.searchsorted(rows, len(self._place_I))]]
        return np.sort(place[place >= 0])

    def _without(self, rows: np.ndarray) -> _Changes:
        """Return the changes after some rows are gone."""
        changes, gone_N = self._changes, self._changes.gone_N.copy()
        distinct = _distinct(rows)
        gone_N[self._places(distinct)] = True
        left_S = ~_is_among(changes.rows_S, distinct)
        return _Changes(gone_N, changes.rows_S[left_S], changes.vectors_SD[left_S])


def checked(vectors_ND: np.ndarray, width: int | None = None, longest: float = _LONGEST) -> np.ndarray:
    """Return vectors in single precision, one a line; raise `UserError` where they are none or longer than one."""
    found = np.ascontiguousarray(vectors_ND, dtype=np.float32)
    if found.ndim != 2 or found.shape[1] != (found.shape[1] if width is None else width) or found.shape[1] == 0:
        expected = "a table of vectors" if width is None else f"a table of vectors of width {width}"
        raise UserError("vectors", expected=expected, found=f"the shape {found.shape}", remedy="Give one vector a line.")
    length_N = np.sqrt(np.einsum("nd,nd->n", found, found))
    if not (length_N <= longest).all() or not np.isfinite(length_N).all():
        line = int(np.flatnonzero(~(length_N <= longest) | ~np.isfinite(length_N))[0])
        what = f"length {length_N[line]:.4g} in line {line}"
        raise UserError("vectors", expected="vectors of length one", found=what, remedy="Divide each by its length.")
    return found


def _rows(rows: Sequence[int] | np.ndarray) -> np.ndarray:
    found = np.asarray(rows, dtype=np.int64)
    if found.ndim != 1 or found.min(initial=0) < 0:
        what = f"{found.min(initial=0)}" if found.ndim == 1 else f"the shape {found.shape}"
        raise UserError("rows of an index", expected="numbers of rows, from 0", found=what, remedy="Check the rows.")
    return found


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Return distinct rows in order; numpy's `unique` takes a hundred times as long for rows in order."""
    ordered = np.sort(rows)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _is_among(rows: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return which rows are among others that are in order."""
    return ordered.searchsorted(rows, "right") > ordered.searchsorted(rows, "left")


def _highest(score_P: np.ndarray, k: int, margin: float) -> np.ndarray:
    """Return where the k highest scores stand and those within a margin below, without those of -inf; in any order."""
    if len(score_P) <= k:
        return np.flatnonzero(score_P > -np.inf)
    lowest = np.partition(score_P, len(score_P) - k)[len(score_P) - k]
    return np.flatnonzero((score_P >= lowest - margin) & (score_P > -np.inf))
