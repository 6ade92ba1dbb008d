"""Metrics of durations of which some were cut short: targets (N, 2) of what was seen and 1 where it was cut.

Shape letters: N rows.
"""

from __future__ import annotations

import numpy as np

from polyrec.evaluate.metrics.observed import Observed
from polyrec.evaluate.metrics.pairs import count_wins


def concordance(observed: Observed) -> float:
    """Harrell's C (Harrell et al., JAMA 1982): how often the row that lasts longer is predicted longer, ties half.

    A pair of rows can be compared where the shorter of the two was not cut; NaN where there is none. Two rows stand at
    different places of the sorted durations, which differ first in one binary digit: the pairs of each digit are counted
    together, in O(N log N) for all.
    """
    kept = observed.weights > 0
    prediction, duration, cut = observed.prediction[kept], observed.target[kept, 0], observed.target[kept, 1] > 0
    order = np.argsort(prediction, kind="stable")
    place = np.unique(duration, return_inverse=True)[1][order]
    prediction, weight, cut = prediction[order], observed.weights[kept][order], cut[order]
    wins = pairs = 0.0
    for digit in reversed(range(int(place.max()).bit_length())):
        is_longer = (place >> digit) % 2 == 1
        longer, shorter = np.where(is_longer, weight, 0.0), np.where(is_longer | cut, 0.0, weight)
        own, longer_ones, shorter_ones = count_wins(place >> digit + 1, prediction, longer, shorter)
        wins, pairs = wins + float(own.sum()), pairs + float(longer_ones @ shorter_ones)
        order = np.argsort(place >> digit, kind="stable")
        place, prediction, weight, cut = place[order], prediction[order], weight[order], cut[order]
    return wins / pairs if pairs else float("nan")


def uncensored_mae(observed: Observed) -> float:
    """Mean absolute error over the rows that were not cut, in the label's units; NaN where there is none."""
    weight = np.where(observed.target[:, 1] > 0, 0.0, observed.weights)
    if weight.sum() == 0:
        return float("nan")
    return float(np.average(np.abs(observed.prediction - observed.target[:, 0]), weights=weight))
