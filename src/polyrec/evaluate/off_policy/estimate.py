"""Judging logs: what a policy would have earned, had it served the lists that another served.

Shape letters: N rows, J requests, K ranks, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import polars as pl

from polyrec.core.errors import UserError, nearest
from polyrec.data.conditions.expressions import require_columns
from polyrec.data.read.sources import Source, read
from polyrec.evaluate.off_policy.candidates import PROBABILITY, Candidates, read_candidates
from polyrec.evaluate.off_policy.greedy import greedy_candidates
from polyrec.evaluate.off_policy.judge import judge_lists
from polyrec.evaluate.off_policy.lists import Lists
from polyrec.evaluate.off_policy.log import LogColumns, clusters, read_log, refuse_outside, to_ranks
from polyrec.evaluate.off_policy.report import OffPolicy
from polyrec.evaluate.off_policy.reward_model import cross_fit
from polyrec.evaluate.off_policy.weights import Interaction
from polyrec.predict.predictor import Predictor


def off_policy(
    log: Source,
    target: str | pl.DataFrame | Predictor,
    *,
    reward: str = "click",
    interaction: Interaction = "cascade",
    ranks: int | None = None,
    clip: float | None = None,
    predicted: str | None = None,
    expected: str | None = None,
    features: Sequence[str] = (),
    columns: LogColumns | None = None,
) -> OffPolicy:
    """Estimate what a target policy would have earned from a log of served lists that carries propensities.

    The log has one row an item of a list, as `LogColumns` names it, whole lists, and what came of each item in `reward`. The
    target is

    - a column of the log: the target's probability of the item at its rank, given the request and the items above it;
    - a frame of candidates: request, position, item, `probability`: all items that the target may put at a rank, given those
      logged above it, and the log's propensities of them if they are known;
    - a fitted recommender, which puts at each rank the item of highest fused score that is not above it, as `recommend` does
      now, items of its training rows left out.

    IPS and SNIPS are always estimated. Doubly robust needs a reward model: `predicted` names a column of the candidates, a task
    of the fitted recommender or, with `expected` for its mean under the target, a column of the log; `features` names columns
    of the candidates, or of the catalogue, by which one is fitted on the log, cross-fitted by user. A model of `predicted`
    must not have learned from the log. `interaction` says what a reward may depend on (`importance`), `ranks` how many
    ranks are judged, `clip` bounds the weights.

    Raises `UserError` for a log that no estimate can be made of, among them one where the target does nothing that was logged.
    What else speaks against the figures stands in `cautions`.
    """
    _check_options(interaction, ranks, clip)
    columns = columns or LogColumns()
    rows = read_log(read(log, what="the log"), columns, reward, ranks)
    cluster_J = clusters(rows, columns.user)
    unsupported = None
    if isinstance(target, str):
        _check_model(features, predicted, expected)
        require_columns(rows, [name for name in (target, predicted, expected) if name is not None], "the log")
        probability = rows[target].cast(pl.Float64)
        refuse_outside(probability, "the log", zero=True)
        shown, mean = (None if name is None else rows[name].cast(pl.Float64) for name in (predicted, expected))
    else:
        if isinstance(target, Predictor):
            target = greedy_candidates(target, rows, columns, predicted, features)
        candidates = read_candidates(target, rows, columns)
        unsupported = candidates.unsupported
        probability = candidates.shown[PROBABILITY].fill_null(0.0)
        shown, mean = _models(candidates, rows, cluster_J, reward, predicted, features)
    finite = [values.is_finite().fill_null(False).all() for values in (shown, mean) if values is not None]
    if not all(finite):
        remedy = "Give the model's reward of every candidate, and the item shown among them."
        raise UserError("the reward model", expected="a number for every item shown", found="none for some", remedy=remedy)
    lists = Lists(
        reward_JK=to_ranks(rows, rows[reward], 0.0),
        logged_JK=np.minimum(to_ranks(rows, rows[columns.propensity], 1.0), 1.0),
        target_JK=np.minimum(to_ranks(rows, probability, 1.0), 1.0),
        exists_JK=to_ranks(rows, pl.repeat(1.0, rows.height, eager=True), 0.0) > 0,
        cluster_J=cluster_J,
        predicted_JK=None if shown is None else to_ranks(rows, shown, 0.0),
        expected_JK=None if mean is None else to_ranks(rows, mean, 0.0),
    )
    return judge_lists(lists, reward, interaction, clip, unsupported)


def _models(
    candidates: Candidates,
    rows: pl.DataFrame,
    cluster_J: np.ndarray,
    reward: str,
    predicted: str | None,
    features: Sequence[str],
) -> tuple[pl.Series | None, pl.Series | None]:
    """Return what a reward model says of the items shown, and its mean over the candidates, both by the log's rows."""
    if predicted is not None and features:
        found = f"{predicted!r} and {list(features)}"
        raise UserError("the reward model", expected="`predicted` or `features`", found=found, remedy="Leave one out.")
    if predicted is not None:
        require_columns(candidates.rows, (predicted,), "the candidates")
        shown, said = candidates.shown[predicted].cast(pl.Float64), candidates.rows[predicted].cast(pl.Float64)
    elif features:
        if candidates.shown["is_candidate"].null_count():
            found = f"{candidates.shown['is_candidate'].null_count()} that are none"
            remedy = "Give the items of the log among the candidates, with probability 0 where the target has none."
            raise UserError("items of the log", expected="candidates, whose features are known", found=found, remedy=remedy)
        cluster_N, cluster_M = (cluster_J[frame["list"].to_numpy()] for frame in (rows, candidates.rows))
        both = cross_fit(candidates.shown, candidates.rows, rows[reward].to_numpy(), cluster_N, cluster_M, features)
        shown, said = (pl.Series(values) for values in both)
    else:
        return None, None
    return shown, candidates.expected(rows, said)


def _check_options(interaction: str, ranks: int | None, clip: float | None) -> None:
    if interaction not in get_args(Interaction):
        remedy = nearest(interaction, get_args(Interaction))
        raise UserError("`interaction`", expected="one of the known", found=f"{interaction!r}", remedy=remedy)
    if ranks is not None and ranks < 1:
        raise UserError("`ranks`", expected="1 or more", found=f"{ranks}", remedy="Judge at least one rank.")
    if clip is not None and not clip >= 1:
        raise UserError("`clip`", expected="1 or more", found=f"{clip}", remedy="Weights are 1 on average.")


def _check_model(features: Sequence[str], predicted: str | None, expected: str | None) -> None:
    if features or (predicted is None) != (expected is None):
        remedy = "Name `predicted` and `expected` together, or give the target as a frame of candidates."
        found = "`features`" if features else "one of the two"
        raise UserError("the reward model of a target in a column", expected="two columns", found=found, remedy=remedy)
