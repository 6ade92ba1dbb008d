"""Metrics of a ranking over the entire catalogue.

Shape letters: U users, K ranks, R pairs of user and relevant item.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ranking_values(ranked_UK: np.ndarray, user_R: np.ndarray, item_R: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the values (U,) of every ranking metric.

    `ranked_UK` holds item numbers in rank order, each once, padded with -1. The pairs (user_R, item_R) are distinct, except for
    items that no list can hold: these may repeat for a user and count each time. With hit_r = 1 if rank r holds a relevant
    item, and n the number of a user's relevant items (NaN if n = 0):

    - `ndcg@k`: `sum_r hit_r / log2(r + 1)` over its highest possible value (Jaervelin and Kekaelaeinen, 2002);
    - `recall@k`: `sum_r hit_r / n`, not over min(n, k);
    - `mrr@k`: 1 over the rank of the first hit, 0 without one;
    - `hit_rate@k`: 1 if there is a hit, else 0.
    """
    users, ranks = ranked_UK.shape
    span = max(int(item_R.max(initial=0)), int(ranked_UK.max(initial=0))) + 1
    pair_UK = np.arange(users)[:, None] * span + ranked_UK
    hit_UK = np.isin(pair_UK, user_R.astype(np.int64) * span + item_R) & (ranked_UK >= 0)
    count_U = np.bincount(user_R, minlength=users)
    one_U = np.where(count_U > 0, 1.0, np.nan)
    discount_K = 1 / np.log2(np.arange(ranks) + 2)
    values: dict[str, np.ndarray] = {}
    for k in ks:
        hits = hit_UK[:, :k]
        ideal = np.r_[np.nan, np.cumsum(1 / np.log2(np.arange(k) + 2))][np.minimum(count_U, k)]
        values[f"ndcg@{k}"] = (hits * discount_K[:k]).sum(1) / ideal
        values[f"recall@{k}"] = hits.sum(1) / (one_U * count_U)
        values[f"mrr@{k}"] = one_U * hits.any(1) / (hits.argmax(1) + 1)
        values[f"hit_rate@{k}"] = one_U * hits.any(1)
    return values


def coverage(ranked_UK: np.ndarray, items: int, k: int) -> float:
    """Return the share of the catalogue's `items` that appear in the first k ranks of at least one user."""
    shown = np.unique(ranked_UK[:, :k])
    return float((shown >= 0).sum() / items)
