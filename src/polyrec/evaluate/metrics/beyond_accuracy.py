"""What recommended lists are like, whatever users think of them: diversity, novelty, popularity and how exposure is spread.

Shape letters: U users, K ranks, I items, D width of a vector, R pairs of a user and an item of the training rows.
"""

from __future__ import annotations

import numpy as np


def diversity(ranked_UK: np.ndarray, vector_ID: np.ndarray) -> np.ndarray:
    """Return each user's intra-list diversity (U,): the mean of `1 - cos(i, j)` over pairs of a list's items.

    Ziegler et al. (WWW 2005) with cosine distance; a vector of zeros has the cosine 0 with all. NaN for lists of fewer than
    two items. The pairs are not enumerated: with unit vectors the sum of all cosines is the square of the sum's length.
    """
    length_I = np.linalg.norm(vector_ID, axis=1, keepdims=True)
    unit_ID = np.divide(vector_ID, length_I, out=np.zeros(vector_ID.shape), where=length_I > 0)
    is_item_UK = ranked_UK >= 0
    sum_UD, own_U = np.zeros((len(ranked_UK), vector_ID.shape[1])), np.zeros(len(ranked_UK))
    for rank in range(ranked_UK.shape[1]):
        unit_UD = unit_ID[ranked_UK[:, rank]] * is_item_UK[:, rank, None]
        sum_UD += unit_UD
        own_U += np.square(unit_UD).sum(1)
    count_U = is_item_UK.sum(1)
    pairs_U = np.where(count_U > 1, count_U * (count_U - 1.0), np.nan)
    return 1 - (np.square(sum_UD).sum(1) - own_U) / pairs_U


def novelty(ranked_UK: np.ndarray, met_I: np.ndarray, users: int) -> np.ndarray:
    """Return each user's mean self-information of the list's items in bits, `-log2(n_i / n)`, (U,).

    n_i of the n training users met item i (Zhou et al., PNAS 2010; Vargas and Castells, RecSys 2011). An item that nobody met
    counts as met by one: it has no finite self-information.
    """
    return _mean_of(ranked_UK, -np.log2(np.maximum(met_I, 1) / users))


def popularity(ranked_UK: np.ndarray, met_I: np.ndarray, users: int) -> np.ndarray:
    """Return the mean share of training users who met a list's items, (U,): ARP (Yin et al., VLDB 2012), over n."""
    return _mean_of(ranked_UK, met_I / users)


def popularity_lift(ranked_UK: np.ndarray, profile_U: np.ndarray, met_I: np.ndarray, users: int) -> float:
    """Return `(ARP of the lists - ARP of the profiles) / ARP of the profiles` (Abdollahpouri et al., RecSys 2020).

    `profile_U` is the mean share of training users who met the items of a user's own training rows; users without any (NaN)
    are left out of both. 0: lists are as popular as what their users choose; above: the recommender adds popularity.
    """
    is_known_U = ~np.isnan(profile_U)
    if not is_known_U.any():
        return float("nan")
    own = float(profile_U[is_known_U].mean())
    return (float(np.nanmean(popularity(ranked_UK[is_known_U], met_I, users))) - own) / own


def profile_popularity(user_R: np.ndarray, item_R: np.ndarray, met_I: np.ndarray, users: int, count: int) -> np.ndarray:
    """Return the mean share of training users who met the items of each of `count` users' pairs; NaN without any."""
    rows_U = np.bincount(user_R, minlength=count)
    return np.bincount(user_R, met_I[item_R] / users, count) / np.where(rows_U > 0, rows_U, np.nan)


def gini(ranked_UK: np.ndarray, items: int) -> float:
    """Return the Gini index of how often each of the catalogue's items is recommended: 0 all alike, near 1 one item alone.

    `sum_i (2 i - I - 1) x_i / (I sum_i x_i)` over counts in rising order (Gini, 1912); NaN without any list.
    """
    count_I = np.sort(np.bincount(ranked_UK[ranked_UK >= 0], minlength=items))
    total = count_I.sum()
    place_I = 2 * np.arange(1, items + 1) - items - 1
    return float(place_I @ count_I / (items * total)) if total else float("nan")


def _mean_of(ranked_UK: np.ndarray, value_I: np.ndarray) -> np.ndarray:
    """Return the mean of one value an item over each list; NaN for empty ones."""
    is_item_UK = ranked_UK >= 0
    count_U = is_item_UK.sum(1)
    return (value_I[ranked_UK] * is_item_UK).sum(1) / np.where(count_U > 0, count_U, np.nan)
