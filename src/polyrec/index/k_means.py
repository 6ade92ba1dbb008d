"""Spherical k-means: centroid directions that represent many vectors.

Shape letters: N vectors, D width of a vector, L centroids.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_CELLS = 2**21
"""Maximum number of cosines in memory at a time, so that the operands stay in the cache of a core."""


def spherical_k_means(
    vectors_ND: np.ndarray, centroids: int, rounds: Iterable[object], generator: np.random.Generator
) -> np.ndarray:
    """Return centroids (L, D) of length one by Lloyd's algorithm with cosine similarity (Dhillon & Modha, Machine Learning
    2001).

    Initial centroids are vectors drawn without replacement; a centroid without vectors is redrawn. There is one iteration per
    element of `rounds`. There must be at least as many vectors as centroids.
    """
    centroids_LD = vectors_ND[generator.choice(len(vectors_ND), centroids, replace=False)]
    for _ in rounds:
        nearest_N = nearest(vectors_ND, centroids_LD)
        order_N = np.argsort(nearest_N, kind="stable")
        used, start = np.unique(nearest_N[order_N], return_index=True)
        centroids_LD = vectors_ND[generator.choice(len(vectors_ND), centroids, replace=False)]
        centroids_LD[used] = np.add.reduceat(vectors_ND[order_N], start)
        length_L1 = np.linalg.norm(centroids_LD, axis=1, keepdims=True)
        centroids_LD /= np.where(length_L1 > 0, length_L1, 1)
    return centroids_LD


def nearest(vectors_ND: np.ndarray, centroids_LD: np.ndarray) -> np.ndarray:
    """Return the index of the centroid with the highest cosine to each vector, (N,); ties go to the first."""
    size = max(_CELLS // len(centroids_LD), 1)
    pieces = (vectors_ND[at : at + size] for at in range(0, len(vectors_ND), size))
    numbers = [(piece @ centroids_LD.T).argmax(1) for piece in pieces]
    return np.concatenate([np.zeros(0, dtype=np.int64), *numbers])
