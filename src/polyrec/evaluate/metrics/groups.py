"""Metrics of the order within groups (the rows of a request or a user), for labels that may be grades.

A group counts as often as its rows: in a bootstrap, as often as it was drawn. Shape letters: N rows, G groups.
"""

from __future__ import annotations

import numpy as np

from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.pairs import count_wins


def pair_accuracy(observed: Observed) -> float:
    """Share of the pairs within a group with different labels that the predictions order correctly, ties counting half.

    For two label values, it is the AUC within groups, weighted by their pairs.
    """
    if observed.group is None:
        return float("nan")
    prediction, target, group, weight_G = _by_group(observed)
    won_G, pairs_G = pairs_in_order(prediction, target, group)
    pairs = float(weight_G @ pairs_G)
    return float(weight_G @ won_G) / pairs if pairs else float("nan")


def group_ndcg(observed: Observed) -> float:
    """NDCG of each group's entire list (see `ndcg_of_groups`), averaged over the groups with a label above 0."""
    if observed.group is None:
        return float("nan")
    prediction, target, group, weight_G = _by_group(observed)
    ndcg_G = ndcg_of_groups(prediction, target, group)
    defined = ~np.isnan(ndcg_G)
    return float(np.average(ndcg_G[defined], weights=weight_G[defined])) if defined.any() else float("nan")


def pairs_in_order(prediction: np.ndarray, target: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each group (G,) the number of its pairs with different labels in predicted order, and of all such pairs.

    Groups are numbered from 0 without gaps. The grades of two rows differ first in one binary digit. The pairs of each digit
    are counted together, in O(N log N) for all digits.
    """
    order = np.lexsort((target, group))
    is_new_group = np.diff(group[order], prepend=-1) > 0
    grade = np.cumsum(is_new_group | (np.diff(target[order], prepend=np.nan) != 0))
    grade -= grade[np.flatnonzero(is_new_group)][group[order]]
    prediction, group = prediction[order], group[order]
    won_G, pairs_G = np.zeros(int(group.max()) + 1), np.zeros(int(group.max()) + 1)
    digits = int(grade.max()).bit_length()
    for digit in range(digits):
        part = (group << digits) + (grade >> digit + 1)
        order = np.lexsort((prediction, part))
        is_higher = (grade[order] >> digit) % 2
        won, higher, lower = count_wins(part[order], prediction[order], is_higher, 1 - is_higher)
        of_part = np.unique(part) >> digits
        won_G += np.bincount(of_part, won, len(won_G))
        pairs_G += np.bincount(of_part, higher * lower, len(pairs_G))
    return won_G, pairs_G


def ndcg_of_groups(prediction: np.ndarray, target: np.ndarray, group: np.ndarray, k: int | None = None) -> np.ndarray:
    """Return the NDCG of each group's list (G,), of the first k ranks or of all (Jaervelin and Kekaelaeinen, 2002).

    `sum_r y_r / log2(r + 1)` over ranks r by prediction, divided by its highest possible value. y is the label; negative
    labels count as 0. NaN if no label is above 0. Rows of equal prediction share the mean discount of their ranks, as in
    scikit-learn. Groups are numbered from 0 without gaps.
    """
    gain = np.maximum(target, 0)
    size_G = np.bincount(group)
    start_G = np.cumsum(size_G) - size_G
    rank = np.arange(len(group)) - np.repeat(start_G, size_G)
    discount = 1 / np.log2(rank + 2) * (rank < (len(group) if k is None else k))
    order = np.lexsort((-prediction, group))
    prediction, sorted_group = prediction[order], group[order]
    tie = np.cumsum((np.diff(sorted_group, prepend=-1) > 0) | (np.diff(prediction, prepend=np.nan) != 0)) - 1
    shared = (np.bincount(tie, discount) / np.bincount(tie))[tie]
    reached_G = np.bincount(sorted_group, gain[order] * shared)
    ideal_G = np.bincount(sorted_group, gain[np.lexsort((-gain, group))] * discount)
    return reached_G / np.where(ideal_G > 0, ideal_G, np.nan)


def _by_group(observed: Observed) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return prediction, label and group number of the rows with a weight, and the mean weight of each group's rows."""
    assert observed.group is not None
    kept = observed.weights > 0
    group = np.unique(observed.group[kept], return_inverse=True)[1]
    weight_G = np.bincount(group, observed.weights[kept]) / np.bincount(group)
    return observed.prediction[kept].astype(float), observed.target[kept].astype(float), group, weight_G
