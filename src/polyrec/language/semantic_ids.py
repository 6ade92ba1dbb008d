"""Semantic ids: a short sequence of codes for each vector, from coarse to fine, by residual k-means.

Shape letters: N vectors, D width of a vector, L levels, K codes of a level.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl

from polyrec.core.errors import missing_extra

_CHUNK = 8192
"""Number of vectors that are compared with all codes at a time."""


@dataclass(frozen=True)
class Codebooks:
    """The code vectors (K, D) of each level; levels may have different numbers of codes.

    The first code of a vector is the nearest code vector, the next code the one nearest to the residual, and so on: near
    vectors share their first codes. The sum of the code vectors is the vector, up to the residual of the last level.
    """

    levels: tuple[np.ndarray, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each level."""
        return tuple(len(codes_KD) for codes_KD in self.levels)

    def encode(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Return the codes (N, L) of vectors, which may be new since the fit."""
        residual_ND = vectors_ND.astype(np.float64)
        codes_NL = np.zeros((len(vectors_ND), len(self.levels)), dtype=np.int32)
        for level, codes_KD in enumerate(self.levels):
            codes_NL[:, level] = _nearest(residual_ND, codes_KD)
            residual_ND -= codes_KD[codes_NL[:, level]]
        return codes_NL

    def decode(self, codes_NL: np.ndarray) -> np.ndarray:
        """Return the vectors (N, D) of codes; codes of fewer levels give coarser vectors."""
        parts = zip(self.levels, codes_NL.T, strict=False)
        return sum((codes_KD[code_N].astype(np.float64) for codes_KD, code_N in parts), start=np.zeros(()))

    def unexplained(self, vectors_ND: np.ndarray) -> tuple[float, ...]:
        """Return the share of unexplained variance after each level: 1 if the codes explain nothing, 0 if everything."""
        codes_NL = self.encode(vectors_ND)
        total = np.square(vectors_ND - vectors_ND.mean(0, dtype=np.float64)).sum()
        left = [np.square(vectors_ND - self.decode(codes_NL[:, : level + 1])).sum() for level in range(len(self.levels))]
        return tuple(float(residual / total) if total > 0 else 0.0 for residual in left)

    def to_frame(self) -> pl.DataFrame:
        """Return one row per code: `level` and `code`, counted from 0, and `vector`."""
        return pl.DataFrame(
            {
                "level": np.repeat(np.arange(len(self.levels), dtype=np.int32), self.sizes),
                "code": np.concatenate([np.arange(size, dtype=np.int32) for size in self.sizes]),
                "vector": pl.Series(np.concatenate(self.levels), dtype=pl.Array(pl.Float32, self.levels[0].shape[1])),
            }
        )

    @classmethod
    def of_frame(cls, frame: pl.DataFrame) -> Codebooks:
        """Return the codebooks of a frame made by `to_frame`."""
        parts = frame.partition_by("level", maintain_order=True)
        return cls(tuple(part["vector"].to_numpy() for part in parts))


def fit_codebooks(vectors_ND: np.ndarray, levels: int, codes: int, seed: int = 0) -> Codebooks:
    """Fit codes to vectors, at least one: k-means at each level on the residuals of the levels before.

    Residual quantisation (Chen et al., Sensors 2010) as ids of items. TIGER (Rajput et al., NeurIPS 2023) trains an RQ-VAE
    instead, whose encoder may move the vectors and whose codes may die out. Here the vectors are fixed, every code is the mean
    of its vectors, and none is unused. Equal vectors count once, so that the codes do not depend on the order of the vectors,
    and a level has no more codes than different residuals. The mean squared residual never rises from one level to the next;
    that of a single vector may.
    """
    residual_ND = np.unique(vectors_ND.astype(np.float32), axis=0).astype(np.float64)
    books = []
    for level in range(levels):
        codes_KD = _cluster(residual_ND, codes, seed + level)
        codes_KD = codes_KD[np.unique(_nearest(residual_ND, codes_KD))]
        books.append(codes_KD)
        residual_ND = residual_ND - codes_KD[_nearest(residual_ND, codes_KD)]
    return Codebooks(tuple(books))


def _cluster(residual_ND: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """Return at most `codes` code vectors (K, D): the cluster means of Lloyd's algorithm after k-means++."""
    different = np.unique(residual_ND.astype(np.float32), axis=0)
    if len(different) <= codes:
        return different
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it comes with scikit-learn
    except ImportError as error:
        raise missing_extra("scikit-learn", "language", "a semantic id") from error
    with threadpool_limits(1), warnings.catch_warnings():  # threads add in a varying order
        warnings.simplefilter("ignore", ConvergenceWarning)
        cluster_N = KMeans(codes, n_init=1, random_state=seed).fit_predict(residual_ND.astype(np.float32))
    order_N = np.argsort(cluster_N, kind="stable")
    _, start_K, count_K = np.unique(cluster_N[order_N], return_index=True, return_counts=True)
    return (np.add.reduceat(residual_ND[order_N], start_K) / count_K[:, None]).astype(np.float32)


def _nearest(residual_ND: np.ndarray, codes_KD: np.ndarray) -> np.ndarray:
    """Return the index (N,) of the nearest code of each residual; ties go to the first."""
    codes_KD = codes_KD.astype(np.float64)
    square_K = np.square(codes_KD).sum(1)
    chunks = range(0, len(residual_ND), _CHUNK)
    parts = [(square_K - 2 * residual_ND[start : start + _CHUNK] @ codes_KD.T).argmin(1) for start in chunks]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def twin_numbers(codes_NL: np.ndarray) -> np.ndarray:
    """Return the last code (N,) with which TIGER distinguishes items that share all other codes: 0, 1, 2, and so on."""
    _, same_N = np.unique(codes_NL, axis=0, return_inverse=True)
    order_N = np.argsort(same_N.reshape(-1), kind="stable")
    sorted_N = same_N.reshape(-1)[order_N]
    first_N = np.searchsorted(sorted_N, sorted_N)
    twin_N = np.empty(len(codes_NL), dtype=np.int32)
    twin_N[order_N] = np.arange(len(codes_NL)) - first_N
    return twin_N


def usage(codes_NL: np.ndarray, codes: int) -> list[dict[str, float]]:
    """Return statistics of each level's `codes` codes over their items, such as those of a catalogue.

    - `used`: number of codes that some item has.
    - `utilisation`: their share of `codes`.
    - `perplexity`: `exp(-sum p log p)`, where p is the share of items with each code: the effective number of codes.
    - `colliding`: share of items whose codes up to this level equal those of another item; at the last level this is the
      collision rate of the ids.
    """
    return [_usage_of(codes_NL, level, codes) for level in range(codes_NL.shape[1])]


def _usage_of(codes_NL: np.ndarray, level: int, codes: int) -> dict[str, float]:
    count_K = np.unique(codes_NL[:, level], return_counts=True)[1]
    share_K = count_K / count_K.sum()
    together = np.unique(codes_NL[:, : level + 1], axis=0, return_counts=True)[1]
    return {
        "used": len(count_K),
        "utilisation": len(count_K) / codes,
        "perplexity": float(np.exp(-(share_K * np.log(share_K)).sum())),
        "colliding": float(together[together > 1].sum() / together.sum()),
    }
