"""Predictions without a model, which every model must beat. Shape letters: N rows, I items, C classes."""

from __future__ import annotations

import numpy as np

SHRINKAGE = 10.0
"""Number of rows at the global mean that are added to each item."""


def item_means(targets: np.ndarray, item_N: np.ndarray, items: int) -> np.ndarray:
    """Return the mean label of each item, (I,) or (I, C), shrunk to the global mean m: `(sum + 10 m) / (n + 10)`.

    For a binary label, this is the item's rate; an item without rows has the global mean.
    """
    flat = targets.reshape(len(targets), -1).astype(float)
    mean_C = flat.mean(0)
    sums_IC = np.stack([np.bincount(item_N, flat[:, c], items) for c in range(flat.shape[1])], 1)
    count_I = np.bincount(item_N, minlength=items)[:, None]
    means = (sums_IC + SHRINKAGE * mean_C) / (count_I + SHRINKAGE)
    return means.reshape(items, *targets.shape[1:])
