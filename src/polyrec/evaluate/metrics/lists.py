"""Per-user metrics of the lists that a score makes of each user's rows, for many scores of the same rows.

Quantities that do not depend on the score are computed once. Shape letters: P rows with a label, U users.
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

    g is the gain of a row and d_r the discount at its rank; rows of equal score share the mean discount of their ranks. NaN for
    users for whom the metric is undefined. With labels y and the n labelled rows of a user:

    - `gauc`: the AUC within the user, for labels 0 and 1; users are weighted by their rows (Zhou et al., KDD 2018);
    - `ndcg@k`: `sum_(r <= k) max(y_r, 0) / log2(r + 1)` over its highest possible value (Jaervelin and Kekaelaeinen, 2002);
    - `mean@k`: the mean label of the first min(k, n) rows, in the label's units.
    """

    row: np.ndarray
    """(P,) numbers of the rows with a label, grouped by user."""
    user: np.ndarray
    """(P,) numbers of their users, ascending."""
    gain: np.ndarray
    """(P,) gains of the rows."""
    discount: np.ndarray
    """(P,) factors of the gain at each rank, users in the order of `user` and ranks ascending within each user."""
    offset: np.ndarray
    """(U,) offsets subtracted from the sums."""
    scale: np.ndarray
    """(U,) divisors of the sums; NaN for users for whom the metric is undefined."""
    weight: np.ndarray
    """(U,) weights of the users in the mean."""

    @staticmethod
    def of(name: str, label: np.ndarray, row: np.ndarray, user: np.ndarray, users: int) -> ListMetric:
        """Return the metric `name` for labels (P,), their rows (P,) and their users (P,), which are numbered below `users`."""
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
        """Return the mean over users, each counted as often as it was drawn; NaN if it is undefined for all."""
        weight = np.where(np.isnan(values), 0, self.weight if draws is None else self.weight * draws)
        return float(weight @ np.nan_to_num(values) / weight.sum()) if weight.any() else float("nan")


def is_list_metric(name: str) -> bool:
    """Return whether a name is that of a list metric: `gauc`, `ndcg@10`, `mean@5`."""
    return _NAME.fullmatch(name) is not None


def _or_nan(values_U: np.ndarray) -> np.ndarray:
    return np.where(values_U > 0, values_U, np.nan)
