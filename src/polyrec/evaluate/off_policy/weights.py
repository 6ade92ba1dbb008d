"""Importance weights of logged lists, and diagnostics of their quality. Shape letters: J requests, K ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyrec.evaluate.off_policy.lists import Lists

Interaction = Literal["cascade", "independent", "list"]
"""What the reward of a rank may depend on; it determines the factors of the rank's weight."""

TOP = 0.01
"""Fraction of the largest weights whose share of the total weight is reported."""


@dataclass(frozen=True)
class Weights:
    """Weights of the rewards of each rank for the target policy, relative to the log."""

    weight_JK: np.ndarray
    """Weight of the reward at each rank; 0 for padding."""
    before_JK: np.ndarray
    """Weight of the expected reward at each rank before its item is chosen; 0 for padding."""
    clipped_JK: np.ndarray
    """Mask of the weights that were clipped."""


def importance(lists: Lists, interaction: Interaction, clip: float | None = None) -> Weights:
    """Return the weights, at most `clip`, from the ratios `rho_k = target / logged` of the propensities at rank k.

    - `cascade`: the reward at a rank depends on its item and those above: `prod_{l <= k} rho_l` (reward interaction IPS,
      McInerney et al., KDD 2020).
    - `independent`: on its item and the rank alone: `rho_k` (the item-position model, Li et al., KDD 2018). It is exact if both
      policies choose a rank independently of the ranks above, or if the propensities are marginal over the items above. With
      propensities conditional on the items above, it is the value of the target's choice at each rank given the logged items
      above.
    - `list`: on the entire list: `prod_l rho_l` (standard IPS of slates).

    All three agree for lists of one item. The more ranks a reward may depend on, the fewer the assumptions and the larger the
    variance.
    """
    ratio_JK = lists.target_JK / lists.logged_JK
    above_JK = np.cumprod(np.hstack([np.ones((len(ratio_JK), 1)), ratio_JK[:, :-1]]), axis=1)
    match interaction:
        case "cascade":
            weight_JK, before_JK = above_JK * ratio_JK, above_JK
        case "independent":
            weight_JK, before_JK = ratio_JK, np.ones_like(ratio_JK)
        case "list":
            weight_JK, before_JK = np.broadcast_to(ratio_JK.prod(1, keepdims=True), ratio_JK.shape), above_JK
    bound = math.inf if clip is None else clip
    exists_JK = lists.exists_JK
    return Weights(
        np.minimum(weight_JK, bound) * exists_JK, np.minimum(before_JK, bound) * exists_JK, (weight_JK > bound) & exists_JK
    )


def effective_size(weight_J: np.ndarray) -> float:
    """Return the effective sample size of weights, `(sum w)^2 / sum w^2` (Kish, 1965); 0 if all are 0."""
    squares = float(np.square(weight_J).sum())
    return float(weight_J.sum()) ** 2 / squares if squares else 0.0


def top_share(weight_J: np.ndarray) -> float:
    """Return the share of the total weight in the largest 1 % of the weights, at least one weight; NaN if all are 0."""
    count = math.ceil(TOP * len(weight_J))
    largest = np.partition(weight_J, len(weight_J) - count)[len(weight_J) - count :]
    return float(largest.sum() / weight_J.sum()) if weight_J.sum() > 0 else math.nan
