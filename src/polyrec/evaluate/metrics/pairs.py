"""Counts pairs of rows that a prediction puts in the right order. Shape letters: N rows, G groups."""

from __future__ import annotations

import numpy as np


def count_wins(
    group: np.ndarray, prediction: np.ndarray, positive: np.ndarray, negative: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each group (G,) the number of pairs of a positive and a negative row with the positive predicted higher.

    Ties count half. The numbers of positives and of negatives of each group are returned as well. `positive` and `negative` are
    multiplicities of rows (N,). The rows must be sorted by group and, within a group, by prediction.
    """
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    ties = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]) | (prediction[1:] != prediction[:-1])])
    group_of_tie = np.searchsorted(starts, ties, side="right") - 1
    tied_positive, tied_negative = np.add.reduceat(positive, ties), np.add.reduceat(negative, ties)
    below = np.cumsum(tied_negative) - tied_negative
    below -= below[np.searchsorted(ties, starts)][group_of_tie]
    groups = len(starts)
    wins = np.bincount(group_of_tie, tied_positive * (below + tied_negative / 2), groups)
    positives, negatives = (np.bincount(group_of_tie, tied, groups) for tied in (tied_positive, tied_negative))
    return wins, positives, negatives
