"""Semantic ids: a few codes for each vector, from coarse to fine, by residual k-means.

Shape letters: N vectors, D width of a vector, L levels, K codes of a level.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import polars as pl

from polyrec.core.errors import missing_extra

_CHUNK = 8192
"""Vectors that are held against all codes at a time."""


@dataclass(frozen=True)
class Codebooks:
    """The code vectors of each level, (K, D) each; levels may have different numbers of codes.

    A vector's first code is the nearest code vector, its next code the nearest to what the first left over, and so on: near
    vectors share their first codes. The sum of its code vectors is the vector, up to what the last level leaves.
    """

    levels: tuple[np.ndarray, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each level."""
        return tuple(len(codes_KD) for codes_KD in self.levels)

    def encode(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Return the codes (N, L) of vectors, also of those that were not there when the codes were learned."""
        residual_ND = vectors_ND.astype(np.float64)
        codes_NL = np.zeros((len(vectors_ND), len(self.levels)), dtype=np.int32)
        for level, codes_KD in enumerate(self.levels):
            codes_NL[:, level] = _nearest(residual_ND, codes_KD)
            residual_ND -= codes_KD[codes_NL[:, level]]
        return codes_NL

    def decode(self, codes_NL: np.ndarray) -> np.ndarray:
        """Return the vectors (N, D) that codes stand for; of fewer levels than there are, the coarser ones."""
        parts = zip(self.levels, codes_NL.T, strict=False)
        return sum((codes_KD[own_N].astype(np.float64) for codes_KD, own_N in parts), start=np.zeros(()))

    def unexplained(self, vectors_ND: np.ndarray) -> tuple[float, ...]:
        """Return the share of the vectors' variance that is left after each level: 1 says nothing, 0 says all."""
        codes_NL = self.encode(vectors_ND)
        total = np.square(vectors_ND - vectors_ND.mean(0, dtype=np.float64)).sum()
        left = [np.square(vectors_ND - self.decode(codes_NL[:, : level + 1])).sum() for level in range(len(self.levels))]
        return tuple(float(own / total) if total > 0 else 0.0 for own in left)

    def to_frame(self) -> pl.DataFrame:
        """Return one row a code: `level` and `code`, counted from 0, and `vector`."""
        return pl.DataFrame(
            {
                "level": np.repeat(np.arange(len(self.levels), dtype=np.int32), self.sizes),
                "code": np.concatenate([np.arange(size, dtype=np.int32) for size in self.sizes]),
                "vector": pl.Series(np.concatenate(self.levels), dtype=pl.Array(pl.Float32, self.levels[0].shape[1])),
            }
        )

    @classmethod
    def of_frame(cls, frame: pl.DataFrame) -> Codebooks:
        """Return the codebooks of the frame that `to_frame` made."""
        parts = frame.partition_by("level", maintain_order=True)
        return cls(tuple(part["vector"].to_numpy() for part in parts))


def fit_codebooks(vectors_ND: np.ndarray, levels: int, codes: int, seed: int = 0) -> Codebooks:
    """Learn codes from vectors, at least one: k-means at each level over what the levels before have left over.

    Residual quantisation (Chen et al., Sensors 2010) as ids of items. TIGER (Rajput et al., NeurIPS 2023) trains an RQ-VAE for
    them, whose encoder may move the vectors and whose codes may die out; here the vectors stay as they are, every code is the
    mean of what it stands for, and none is unused. Equal vectors count once, so that the codes do not depend on the order of
    the vectors, and a level has no more codes than there are different residuals. The mean squared residual never rises from
    a level to the next; that of a single vector may.
    """
    residual_ND = np.unique(vectors_ND.astype(np.float32), axis=0).astype(np.float64)
    found = []
    for level in range(levels):
        codes_KD = _cluster(residual_ND, codes, seed + level)
        codes_KD = codes_KD[np.unique(_nearest(residual_ND, codes_KD))]
        found.append(codes_KD)
        residual_ND = residual_ND - codes_KD[_nearest(residual_ND, codes_KD)]
    return Codebooks(tuple(found))


def _cluster(residual_ND: np.ndarray, codes: int, seed: int) -> np.ndarray:
    """Return at most so many code vectors, (K, D): the means of the clusters of Lloyd's algorithm after k-means++."""
    different = np.unique(residual_ND.astype(np.float32), axis=0)
    if len(different) <= codes:
        return different
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it comes with scikit-learn
    except ImportError as error:
        raise missing_extra("scikit-learn", "language", "a semantic id") from error
    with threadpool_limits(1), warnings.catch_warnings():  # sums of several threads come out in any order
        warnings.simplefilter("ignore", ConvergenceWarning)
        cluster_N = KMeans(codes, n_init=1, random_state=seed).fit_predict(residual_ND.astype(np.float32))
    order_N = np.argsort(cluster_N, kind="stable")
    _, start_K, count_K = np.unique(cluster_N[order_N], return_index=True, return_counts=True)
    return (np.add.reduceat(residual_ND[order_N], start_K) / count_K[:, None]).astype(np.float32)


def _nearest(residual_ND: np.ndarray, codes_KD: np.ndarray) -> np.ndarray:
    """Return the number of the nearest code of each residual, (N,); of equally near ones the first."""
    codes_KD = codes_KD.astype(np.float64)
    square_K = np.square(codes_KD).sum(1)
    chunks = range(0, len(residual_ND), _CHUNK)
    found = [(square_K - 2 * residual_ND[at : at + _CHUNK] @ codes_KD.T).argmin(1) for at in chunks]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def twin_numbers(codes_NL: np.ndarray) -> np.ndarray:
    """Return the last code (N,) by which TIGER tells apart what shares all others: 0, then 1, 2, and so on."""
    _, same_N = np.unique(codes_NL, axis=0, return_inverse=True)
    order_N = np.argsort(same_N.reshape(-1), kind="stable")
    sorted_N = same_N.reshape(-1)[order_N]
    first_N = np.searchsorted(sorted_N, sorted_N)
    twin_N = np.empty(len(codes_NL), dtype=np.int32)
    twin_N[order_N] = np.arange(len(codes_NL)) - first_N
    return twin_N


def usage(codes_NL: np.ndarray, codes: int) -> list[dict[str, float]]:
    """Return for each level what is made of its `codes` codes by what carries them, such as the items of a catalogue.

    - `used`: codes that something carries.
    - `utilisation`: their share of `codes`.
    - `perplexity`: `exp(-sum p log p)`, p the share of what carries each code: as many equally frequent codes say as much.
    - `colliding`: share of what has its codes up to this level in common with something else; at the last level this is the
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
