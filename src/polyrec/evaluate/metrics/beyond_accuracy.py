"""Properties of recommended lists that need no labels: diversity, novelty, popularity and the spread of exposure.

Shape letters: U users, K ranks, I items, D width of a vector, R pairs of a user and an item of the training rows.
"""

from __future__ import annotations

import numpy as np


def diversity(ranked_UK: np.ndarray, vector_ID: np.ndarray) -> np.ndarray:
    """Return each user's intra-list diversity (U,): the mean of `1 - cos(i, j)` over pairs of a list's items.

    Ziegler et al. (WWW 2005) with cosine distance; a zero vector has cosine 0 with every vector. NaN for lists of fewer than
    two items. The pairs are not enumerated: for unit vectors, the sum of all cosines is the squared length of their sum.
    """
    length_I = np.linalg.norm(vector_ID, axis=1, keepdims=True)
    unit_ID = np.divide(vector_ID, length_I, out=np.zeros(vector_ID.shape), where=length_I > 0)
    is_item_UK = ranked_UK >= 0
    sum_UD, squares_U = np.zeros((len(ranked_UK), vector_ID.shape[1])), np.zeros(len(ranked_UK))
    for rank in range(ranked_UK.shape[1]):
        unit_UD = unit_ID[ranked_UK[:, rank]] * is_item_UK[:, rank, None]
        sum_UD += unit_UD
        squares_U += np.square(unit_UD).sum(1)
    count_U = is_item_UK.sum(1)
    pairs_U = np.where(count_U > 1, count_U * (count_U - 1.0), np.nan)
    return 1 - (np.square(sum_UD).sum(1) - squares_U) / pairs_U


def novelty(ranked_UK: np.ndarray, users_I: np.ndarray, users: int) -> np.ndarray:
    """Return each user's mean self-information of the list's items in bits, `-log2(n_i / n)`, (U,).

    n_i (`users_I`) of the n training users interacted with item i (Zhou et al., PNAS 2010; Vargas and Castells, RecSys 2011).
    An item without users counts as having one, because its self-information would be infinite.
    """
    return _mean_of(ranked_UK, -np.log2(np.maximum(users_I, 1) / users))


def popularity(ranked_UK: np.ndarray, users_I: np.ndarray, users: int) -> np.ndarray:
    """Return the mean share of training users of each list's items, (U,): ARP (Yin et al., VLDB 2012), divided by n."""
    return _mean_of(ranked_UK, users_I / users)


def popularity_lift(ranked_UK: np.ndarray, profile_U: np.ndarray, users_I: np.ndarray, users: int) -> float:
    """Return `(ARP of the lists - ARP of the profiles) / ARP of the profiles` (Abdollahpouri et al., RecSys 2020).

    `profile_U` is the mean share of training users of the items in a user's training rows; users without any (NaN) are excluded
    from both. 0: lists are as popular as the items that their users choose; above 0: the recommender adds popularity.
    """
    is_known_U = ~np.isnan(profile_U)
    if not is_known_U.any():
        return float("nan")
    base = float(profile_U[is_known_U].mean())
    return (float(np.nanmean(popularity(ranked_UK[is_known_U], users_I, users))) - base) / base


def profile_popularity(user_R: np.ndarray, item_R: np.ndarray, users_I: np.ndarray, users: int, count: int) -> np.ndarray:
    """Return for each of `count` users the mean share of training users of the items in its pairs; NaN without any."""
    rows_U = np.bincount(user_R, minlength=count)
    return np.bincount(user_R, users_I[item_R] / users, count) / np.where(rows_U > 0, rows_U, np.nan)


def gini(ranked_UK: np.ndarray, items: int) -> float:
    """Return the Gini index of the items' numbers of recommendations: 0 if all are equal, near 1 if one item has all.

    `sum_i (2 i - I - 1) x_i / (I sum_i x_i)` over counts in ascending order (Gini, 1912); NaN without any list.
    """
    count_I = np.sort(np.bincount(ranked_UK[ranked_UK >= 0], minlength=items))
    total = count_I.sum()
    place_I = 2 * np.arange(1, items + 1) - items - 1
    return float(place_I @ count_I / (items * total)) if total else float("nan")


def _mean_of(ranked_UK: np.ndarray, value_I: np.ndarray) -> np.ndarray:
    """Return the mean over each list of one value per item; NaN for an empty list."""
    is_item_UK = ranked_UK >= 0
    count_U = is_item_UK.sum(1)
    return (value_I[ranked_UK] * is_item_UK).sum(1) / np.where(count_U > 0, count_U, np.nan)
