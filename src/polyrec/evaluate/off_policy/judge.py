"""Judging: from logged lists to estimates with intervals, and to what speaks against trusting them.

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
"""Effective size below which normal intervals are not to be trusted."""

_MOST_TOP, _MOST_ERRORS = 0.5, 4.0
"""Part of all weight in the largest hundredth, and standard errors between the mean weight and 1, from which on to warn."""


def judge_lists(
    lists: Lists, reward: str, interaction: Interaction, clip: float | None, unsupported: float | None = None
) -> OffPolicy:
    """Return every estimate that can be made; `unsupported` is what is known of the target's probability beyond the log's."""
    if lists.cluster_J.max(initial=0) < 1:
        raise UserError("the log", expected="lists of two users or more", found="one", remedy="Give more of the log.")
    weights = importance(lists, interaction, clip)
    ranks = tuple(_rank(rank, lists, weights) for rank in range(lists.reward_JK.shape[1]))
    for rank in ranks:
        if rank.ess == 0:
            remedy = f"Judge the first {rank.rank - 1} ranks (`ranks`), or log with more exploration."
            remedy = remedy if rank.rank > 1 else "Log with more exploration, or judge a target that is nearer to the log's."
            found = "none: the target does nothing that the log has seen"
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


def _estimate(found: Influenced, logged: Influenced, cluster_J: np.ndarray, ess: float) -> Estimate:
    value, influence_J = found
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
    """Return what a reader must know before the figures: one sentence each, the first rank that is concerned named."""
    found = []
    if (small := next((rank for rank in ranks if rank.ess < FEWEST), None)) is not None:
        found.append(
            f"At rank {small.rank} the weights are worth {small.ess:.0f} requests of {small.requests:,}: "
            "the intervals are too narrow, and the estimates may be far off."
        )
    if (uneven := next((rank for rank in ranks if rank.top_share > _MOST_TOP), None)) is not None:
        part = f"{uneven.top_share:.0%} of all weight at rank {uneven.rank}"
        found.append(f"The largest {TOP:.0%} of the weights hold {part}: few requests decide.")
    if unsupported:
        found.append(
            f"The target gives {unsupported:.1%} of its probability to items that the log's policy could not show: "
            "what they would earn is counted as 0 by IPS, as that of the others by SNIPS, and as the model says by DR."
        )
    if clip is None:
        found += _off_one(lists, weights, ranks)
    elif any(rank.clipped for rank in ranks):
        most = max(ranks, key=lambda rank: rank.clipped)
        found.append(
            f"Weights above {clip:g} were clipped, at most {most.clipped:.1%} of them at a rank ({most.rank}): "
            "less variance, but a bias that the intervals do not cover."
        )
    return tuple(found)


def _off_one(lists: Lists, weights: Weights, ranks: tuple[Rank, ...]) -> list[str]:
    """Say where the mean weight is not 1, as it is expected to be wherever the log covers the target."""
    for rank in ranks:
        exists_J = lists.exists_JK[:, rank.rank - 1]
        weight_J = weights.weight_JK[exists_J, rank.rank - 1]
        _, cluster_J = np.unique(lists.cluster_J[exists_J], return_inverse=True)
        if cluster_J.max() == 0:
            continue
        error = standard_error(weight_J - weight_J.mean(), cluster_J)
        if abs(rank.mean_weight - 1) > _MOST_ERRORS * error + 1e-6:
            below = f"the target puts about {1 - rank.mean_weight:.0%} of its probability where the log has none"
            reason = below if rank.mean_weight < 1 else "propensities are smaller than what happened, or the target's too large"
            return [f"The mean weight at rank {rank.rank} is {rank.mean_weight:.3f}, where 1 is expected: {reason}."]
    return []
