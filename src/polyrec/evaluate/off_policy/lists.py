"""`Lists`: logged lists as arrays, one row a request. Shape letters: J requests, K ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lists:
    """What was shown, with which probability, what came of it, and how probable it is under the target policy.

    Where a list is shorter than K the ranks behind its end hold rewards and predictions of 0 and propensities of 1. All
    propensities are those of the item at its rank, given the request and the items above it.
    """

    reward_JK: np.ndarray
    """What came of each item."""
    logged_JK: np.ndarray
    """Propensity of the item at its rank under the policy that made the log, in (0, 1]."""
    target_JK: np.ndarray
    """Its propensity under the target policy, in [0, 1]."""
    exists_JK: np.ndarray
    """Which ranks the list has."""
    cluster_J: np.ndarray
    """Number of the user of each request: requests of one user are not independent."""
    predicted_JK: np.ndarray | None = None
    """What a reward model says of the item shown; None without one."""
    expected_JK: np.ndarray | None = None
    """The mean of what it says over the items that the target policy may put there, below the items logged above."""
