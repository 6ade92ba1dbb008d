"""Importance weights of logged lists, and what they tell of their own worth. Shape letters: J requests, K ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyrec.evaluate.off_policy.lists import Lists

Interaction = Literal["cascade", "independent", "list"]
"""What the reward of a rank may depend on, and with it what its weight is a product of."""

TOP = 0.01
"""Share of the largest weights whose part of all weight is told."""


@dataclass(frozen=True)
class Weights:
    """How much the reward of each rank counts for the target policy, as a multiple of what it counts in the log."""

    weight_JK: np.ndarray
    """Of the reward at each rank; 0 behind a list's end."""
    before_JK: np.ndarray
    """Of what is expected at each rank before its item is chosen; 0 behind a list's end."""
    clipped_JK: np.ndarray
    """Which weights were above the bound."""


def importance(lists: Lists, interaction: Interaction, clip: float | None = None) -> Weights:
    """Return the weights, at most `clip`, from the ratios `rho_k = target / logged` of the propensities at rank k.

    - `cascade`: the reward at a rank depends on its item and those above: `prod_{l <= k} rho_l` (reward interaction IPS,
      McInerney et al., KDD 2020).
    - `independent`: on its item and the rank alone: `rho_k` (the item-position model, Li et al., KDD 2018). Exact where both
      policies choose a rank without regard to the ranks above, or where the propensities given are those of the item at
      the rank whatever stands above. From propensities given the items above it is the value of the target's choice at
      each rank under the log's items above it.
    - `list`: on the whole list: `prod_l rho_l` (standard IPS of slates).

    All three agree for lists of one item. The further a reward may see, the fewer assumptions and the larger the variance.
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
    """Return how many equal weights would estimate a mean as well: `(sum w)^2 / sum w^2` (Kish, 1965); 0 where all are 0."""
    squares = float(np.square(weight_J).sum())
    return float(weight_J.sum()) ** 2 / squares if squares else 0.0


def top_share(weight_J: np.ndarray) -> float:
    """Return the part of all weight that the largest hundredth of the weights holds, at least one; NaN where all are 0."""
    count = math.ceil(TOP * len(weight_J))
    largest = np.partition(weight_J, len(weight_J) - count)[len(weight_J) - count :]
    return float(largest.sum() / weight_J.sum()) if weight_J.sum() > 0 else math.nan
