"""Computes estimates with intervals from logged lists, and cautions against unreliable ones.

Shape letters: J requests, K ranks.
"""

from __future__ import annotations

import numpy as np

from polyrec.core.errors import UserError
from polyrec.evaluate.off_policy.estimators import ESTIMATORS, Influenced, on_policy
from polyrec.evaluate.off_policy.intervals import normal_interval, standard_error
from polyrec.evaluate.off_policy.lists import Lists
from polyrec.evaluate.off_policy.report import Estimate, OffPolicy, Rank
from polyrec.evaluate.off_policy.weights import TOP, Interaction, Weights, effective_size, importance, top_share

FEWEST = 100
"""Effective sample size below which normal intervals are unreliable."""

_MOST_TOP, _MOST_ERRORS = 0.5, 4.0
"""Thresholds of warnings: share of the total weight in the top 1 %, and standard errors between the mean weight and 1."""


def judge_lists(
    lists: Lists, reward: str, interaction: Interaction, clip: float | None, unsupported: float | None = None
) -> OffPolicy:
    """Return every possible estimate; `unsupported` is the target's probability of items that the log could not show."""
    if lists.cluster_J.max(initial=0) < 1:
        remedy = "Provide a larger part of the log."
        raise UserError("the log", expected="lists of two users or more", found="one user", remedy=remedy)
    weights = importance(lists, interaction, clip)
    ranks = tuple(_rank(rank, lists, weights) for rank in range(lists.reward_JK.shape[1]))
    for rank in ranks:
        if rank.ess == 0:
            remedy = f"Judge the first {rank.rank - 1} ranks (`ranks`), or log with more exploration."
            remedy = remedy if rank.rank > 1 else "Log with more exploration, or judge a target closer to the logging policy."
            found = "none: the target never does what was logged"
            raise UserError(f"weights at rank {rank.rank}", expected="some above 0", found=found, remedy=remedy)
    logged, ess = on_policy(lists), min(rank.ess for rank in ranks)
    names = [name for name in ESTIMATORS if name != "dr" or lists.predicted_JK is not None]
    return OffPolicy(
        reward=reward,
        logged=_estimate(logged, logged, lists.cluster_J, float(len(lists.cluster_J))),
        estimates={name: _estimate(ESTIMATORS[name](lists, weights), logged, lists.cluster_J, ess) for name in names},
        requests=len(lists.cluster_J),
        users=int(lists.cluster_J.max()) + 1,
        interaction=interaction,
        clip=clip,
        ranks=ranks,
        cautions=_cautions(lists, weights, ranks, clip, unsupported),
    )


def _estimate(estimate: Influenced, logged: Influenced, cluster_J: np.ndarray, ess: float) -> Estimate:
    value, influence_J = estimate
    gain = value - logged[0]
    gain_low, gain_high = normal_interval(gain, influence_J - logged[1], cluster_J)
    return Estimate(value, *normal_interval(value, influence_J, cluster_J), ess, gain, gain_low, gain_high)


def _rank(rank: int, lists: Lists, weights: Weights) -> Rank:
    exists_J = lists.exists_JK[:, rank]
    weight_J = weights.weight_JK[exists_J, rank]
    clipped = float(weights.clipped_JK[exists_J, rank].mean())
    largest, share = float(weight_J.max()), top_share(weight_J)
    return Rank(rank + 1, len(weight_J), float(weight_J.mean()), largest, effective_size(weight_J), share, clipped)


def _cautions(
    lists: Lists, weights: Weights, ranks: tuple[Rank, ...], clip: float | None, unsupported: float | None
) -> tuple[str, ...]:
    """Return warnings about the estimates, one sentence each; a sentence about ranks names the first one affected."""
    cautions = []
    if (small := next((rank for rank in ranks if rank.ess < FEWEST), None)) is not None:
        cautions.append(
            f"At rank {small.rank} the weights are worth {small.ess:.0f} of {small.requests:,} requests: "
            "the intervals are too narrow, and the estimates may be far from the true values."
        )
    if (uneven := next((rank for rank in ranks if rank.top_share > _MOST_TOP), None)) is not None:
        part = f"{uneven.top_share:.0%} of the total weight at rank {uneven.rank}"
        cautions.append(f"The largest {TOP:.0%} of the weights have {part}: few requests decide.")
    if unsupported:
        cautions.append(
            f"The target gives {unsupported:.1%} of its probability to items that the log's policy could not show: "
            "IPS counts their reward as 0, SNIPS as that of the other items, and DR as the model predicts it."
        )
    if clip is None:
        cautions += _off_one(lists, weights, ranks)
    elif any(rank.clipped for rank in ranks):
        most = max(ranks, key=lambda rank: rank.clipped)
        cautions.append(
            f"Weights above {clip:g} were clipped, up to {most.clipped:.1%} of a rank's weights (rank {most.rank}): "
            "this reduces the variance but adds a bias that the intervals do not cover."
        )
    return tuple(cautions)


def _off_one(lists: Lists, weights: Weights, ranks: tuple[Rank, ...]) -> list[str]:
    """Return a warning for the first rank whose mean weight is not 1, its expected value if the log covers the target."""
    for rank in ranks:
        exists_J = lists.exists_JK[:, rank.rank - 1]
        weight_J = weights.weight_JK[exists_J, rank.rank - 1]
        _, cluster_J = np.unique(lists.cluster_J[exists_J], return_inverse=True)
        if cluster_J.max() == 0:
            continue
        error = standard_error(weight_J - weight_J.mean(), cluster_J)
        if abs(rank.mean_weight - 1) > _MOST_ERRORS * error + 1e-6:
            below = f"the target puts about {1 - rank.mean_weight:.0%} of its probability where the log has none"
            above = "propensities are smaller than what happened, or the probabilities of the target are too large"
            reason = below if rank.mean_weight < 1 else above
            return [f"The mean weight at rank {rank.rank} is {rank.mean_weight:.3f}, where 1 is expected: {reason}."]
    return []
