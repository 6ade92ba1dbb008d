"""`Lists`: logged lists as arrays, one row a request. Shape letters: J requests, K ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lists:
    """Rewards of the items shown, and their propensities under the logging policy and the target policy.

    Lists shorter than K are padded with rewards and predictions of 0 and propensities of 1. A propensity is the probability of
    the item at its rank, given the request and the items above it.
    """

    reward_JK: np.ndarray
    """Reward of each item."""
    logged_JK: np.ndarray
    """Propensity of the item at its rank under the logging policy, in (0, 1]."""
    target_JK: np.ndarray
    """Propensity of the item at its rank under the target policy, in [0, 1]."""
    exists_JK: np.ndarray
    """Mask of the ranks that the list has; False for padding."""
    cluster_J: np.ndarray
    """Number of the user of each request: requests of one user are not independent."""
    predicted_JK: np.ndarray | None = None
    """Predicted reward of the item shown; None without a reward model."""
    expected_JK: np.ndarray | None = None
    """Mean predicted reward over the target policy's choice at the rank, given the items logged above."""
