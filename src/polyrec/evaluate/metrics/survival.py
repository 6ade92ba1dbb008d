"""Metrics of right-censored durations: targets (N, 2) of the observed duration and 1 if it was censored.

Shape letters: N rows.
"""

from __future__ import annotations

import numpy as np

from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.pairs import count_wins


def concordance(observed: Observed) -> float:
    """Harrell's C (Harrell et al., JAMA 1982): how often the longer of two rows is predicted longer, ties counting half.

    A pair of rows is comparable if the shorter of the two is not censored; NaN if no pair is. The ranks of two durations differ
    first in one binary digit. The pairs of each digit are counted together, in O(N log N) for all digits.
    """
    kept = observed.weights > 0
    prediction, duration, censored = observed.prediction[kept], observed.target[kept, 0], observed.target[kept, 1] > 0
    order = np.argsort(prediction, kind="stable")
    place = np.unique(duration, return_inverse=True)[1][order]
    prediction, weight, censored = prediction[order], observed.weights[kept][order], censored[order]
    wins = pairs = 0.0
    for digit in reversed(range(int(place.max()).bit_length())):
        is_longer = (place >> digit) % 2 == 1
        longer, shorter = np.where(is_longer, weight, 0.0), np.where(is_longer | censored, 0.0, weight)
        group_wins, longer_counts, shorter_counts = count_wins(place >> digit + 1, prediction, longer, shorter)
        wins, pairs = wins + float(group_wins.sum()), pairs + float(longer_counts @ shorter_counts)
        order = np.argsort(place >> digit, kind="stable")
        place, prediction, weight, censored = place[order], prediction[order], weight[order], censored[order]
    return wins / pairs if pairs else float("nan")


def uncensored_mae(observed: Observed) -> float:
    """Mean absolute error over the uncensored rows, in the label's units; NaN without such rows."""
    weight = np.where(observed.target[:, 1] > 0, 0.0, observed.weights)
    if weight.sum() == 0:
        return float("nan")
    return float(np.average(np.abs(observed.prediction - observed.target[:, 0]), weights=weight))
