"""Estimators of a policy's value (mean over requests of the sum of a list's rewards) from the log of another policy.

Each returns the estimate and its influence function (J,), of mean 0: the effect of each request on the estimate, times J. The
variance of an estimate is that of the mean influence (`intervals.py`). Shape letters: J requests, K ranks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polyrec.evaluate.off_policy.lists import Lists
from polyrec.evaluate.off_policy.weights import Weights

Influenced = tuple[float, np.ndarray]
"""An estimate and its influence function."""


def on_policy(lists: Lists) -> Influenced:
    """Return the value of the logging policy: the unweighted mean."""
    return _mean(lists.reward_JK.sum(1))


def ips(lists: Lists, weights: Weights) -> Influenced:
    """Inverse propensity scoring, `mean_j sum_k w_jk r_jk` (Horvitz and Thompson, 1952): unbiased, with large variance."""
    return _mean((weights.weight_JK * lists.reward_JK).sum(1))


def snips(lists: Lists, weights: Weights) -> Influenced:
    """Self-normalised IPS, `sum_k s_k m_k` with `m_k = sum_j w_jk r_jk / sum_j w_jk` (Swaminathan and Joachims, NIPS 2015).

    s_k is the share of the requests whose list has a rank k: each rank is normalised separately, by the sum of its weights. The
    bias decreases as 1 / J. A constant added to all rewards shifts the estimate equally, and the estimate stays within the
    range of the rewards. The influence follows from the delta method for the ratio.
    """
    weight_JK, reward_JK, exists_JK = weights.weight_JK, lists.reward_JK, lists.exists_JK
    total_K = weight_JK.sum(0)
    safe_K = np.where(total_K > 0, total_K, np.nan)
    mean_K, share_K = (weight_JK * reward_JK).sum(0) / safe_K, exists_JK.mean(0)
    of_ratio_JK = weight_JK * (reward_JK - mean_K) / (safe_K / len(weight_JK))
    influence_J = ((exists_JK - share_K) * mean_K + share_K * of_ratio_JK).sum(1)
    return float((share_K * mean_K).sum()), influence_J


def doubly_robust(lists: Lists, weights: Weights) -> Influenced:
    """Doubly robust, `mean_j sum_k [w_jk (r_jk - q_jk) + u_jk E_jk]` (Dudik et al., ICML 2011; Jiang and Li, ICML 2016).

    q is the predicted reward of the item shown, E its mean over the target's choice at the rank given the items logged above,
    and u the weight of these items: 1 at the first rank. It is unbiased for any model that was fitted on other rows; a better
    model reduces the variance. The model predicts the reward of a single rank; later ranks have separate terms. The cascade-DR
    of Kiyohara et al. (WSDM 2022) models the sum of the remaining rewards instead.
    """
    assert lists.predicted_JK is not None and lists.expected_JK is not None
    corrected_JK = weights.weight_JK * (lists.reward_JK - lists.predicted_JK)
    return _mean((corrected_JK + weights.before_JK * lists.expected_JK).sum(1))


def _mean(value_J: np.ndarray) -> Influenced:
    return float(value_J.mean()), value_J - value_J.mean()


ESTIMATORS: dict[str, Callable[[Lists, Weights], Influenced]] = {"ips": ips, "snips": snips, "dr": doubly_robust}
"""Every estimator by its name; `dr` requires a reward model."""
