"""Metrics of the lists that a score makes of each user's rows, told user by user, for many scores of the same rows.

What does not depend on the score is computed once. Shape letters: P rows with a label, U users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

KINDS = ("gauc", "ndcg@K", "mean@K")
_NAME = re.compile(r"gauc|(ndcg|mean)@([1-9]\d*)")


@dataclass(frozen=True)
class ListMetric:
    """`(sum_r g_r d_r - offset) / scale` for each user, over the ranks r of their rows by descending score.

    g is a row's gain and d_r what it counts at its rank; rows of equal score share the mean of their ranks' d. NaN for users
    of whom nothing can be said. With labels y and the n rows of a user that have one:

    - `gauc`: the AUC within the user, for labels 0 and 1; users weigh as many as they have rows (Zhou et al., KDD 2018);
    - `ndcg@k`: `sum_(r <= k) max(y_r, 0) / log2(r + 1)` over its highest possible value (Jaervelin and Kekaelaeinen, 2002);
    - `mean@k`: the mean label of the first min(k, n) rows, in the label's units.
    """

    row: np.ndarray
    """(P,) which rows have a label, those of a user together."""
    user: np.ndarray
    """(P,) numbers of their users, ascending."""
    gain: np.ndarray
    """(P,) what is gained by a row."""
    discount: np.ndarray
    """(P,) what a gain counts at each place, users in the order of `user` and ranks ascending within them."""
    offset: np.ndarray
    """(U,) what is taken from the sum."""
    scale: np.ndarray
    """(U,) what the sum is divided by; NaN where nothing can be said of a user."""
    weight: np.ndarray
    """(U,) how much a user counts in the mean."""

    @staticmethod
    def of(name: str, label: np.ndarray, row: np.ndarray, user: np.ndarray, users: int) -> ListMetric:
        """Return the metric of a name, given labels (P,), their rows (P,) and users (P,) among the numbers below `users`."""
        order = np.argsort(user, kind="stable")
        label, row, user = label[order].astype(float), row[order], user[order]
        size_U = np.bincount(user, minlength=users)
        rank = np.arange(len(user)) - np.repeat(np.cumsum(size_U) - size_U, size_U)
        match = _NAME.fullmatch(name)
        assert match is not None, name
        if name == "gauc":
            ones_U = np.bincount(user, label, users)
            pairs_U = ones_U * (size_U - ones_U)
            from_below = np.repeat(size_U, size_U).astype(float) - rank
            return ListMetric(row, user, label, from_below, ones_U * (ones_U + 1) / 2, _or_nan(pairs_U), size_U.astype(float))
        k = int(match[2])
        zero_U, one_U = np.zeros(users), np.ones(users)
        if match[1] == "mean":
            return ListMetric(row, user, label, (rank < k) * 1.0, zero_U, _or_nan(np.minimum(size_U, k)), one_U)
        gain, discount = np.maximum(label, 0), (rank < k) / np.log2(rank + 2)
        ideal_U = np.bincount(user, gain[np.lexsort((-gain, user))] * discount, users)
        return ListMetric(row, user, gain, discount, zero_U, _or_nan(ideal_U), one_U)

    def values(self, score: np.ndarray) -> np.ndarray:
        """Return the metric of each user (U,), given the score of every row."""
        score = score[self.row]
        order = np.lexsort((-score, self.user))
        score = score[order]
        is_new = np.r_[True, (score[1:] != score[:-1]) | (self.user[1:] != self.user[:-1])][: len(score)]
        tie = np.cumsum(is_new) - 1
        shared = (np.bincount(tie, self.discount) / np.bincount(tie))[tie]
        return (np.bincount(self.user, self.gain[order] * shared, len(self.scale)) - self.offset) / self.scale

    def mean(self, values: np.ndarray, draws: np.ndarray | None = None) -> float:
        """Return the mean over users, each counted as often as it was drawn; NaN where nothing can be said of any."""
        weight = np.where(np.isnan(values), 0, self.weight if draws is None else self.weight * draws)
        return float(weight @ np.nan_to_num(values) / weight.sum()) if weight.any() else float("nan")


def is_list_metric(name: str) -> bool:
    """Whether a name is that of a metric of lists: `gauc`, `ndcg@10`, `mean@5`."""
    return _NAME.fullmatch(name) is not None


def _or_nan(values_U: np.ndarray) -> np.ndarray:
    return np.where(values_U > 0, values_U, np.nan)
