"""Greedy candidates: what a fitted recommender would put at each rank of logged lists, below the items logged above.

Shape letters: R requests of a user, K ranks, I items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from polyrec.core.errors import UserError, nearest
from polyrec.core.names import SCORE
from polyrec.data.conditions.expressions import require_columns
from polyrec.evaluate.off_policy.candidates import PROBABILITY
from polyrec.evaluate.off_policy.log import LogColumns
from polyrec.predict.predictor import Predictor

_ABSENT = -1


def greedy_candidates(
    fitted: Predictor, log: pl.DataFrame, columns: LogColumns, predicted: str | None, features: Sequence[str]
) -> pl.DataFrame:
    """Return one row for each rank's choice, of probability 1, and one of probability 0 where the log shows another item.

    `predicted` names a scalar task, whose prediction each row is given; `features` columns of the catalogue. Each user is
    predicted once, as of now; keys that are text in the log are read as the catalogue's. An item of the log that the
    catalogue lacks is none of the candidates.
    """
    require_columns(log, (columns.request, columns.user, columns.item), "the log")
    scalar = [task.name for task in fitted.spec.tasks if task.is_scalar]
    if predicted is not None and predicted not in scalar:
        found = f"{predicted!r}"
        remedy = nearest(predicted, scalar)
        raise UserError("`predicted`", expected="a task with one number a row", found=found, remedy=remedy)
    require_columns(fitted.items, features, "`features` of the catalogue")
    catalogue, key = fitted.items, fitted.item_key
    numbers = catalogue.select(pl.col(key).alias("item"), number=pl.int_range(pl.len(), dtype=pl.Int64))
    items = log.select(pl.col(columns.item).cast(catalogue.schema[key], strict=False).alias("item"))
    number = items.join(numbers, on="item", how="left", maintain_order="left")["number"].fill_null(_ABSENT)
    user = pl.col(columns.user).cast(fitted.seen_pairs().schema[fitted.user_key], strict=False)
    log = log.with_columns(user, number=number)
    users = log.partition_by(columns.user, maintain_order=True)
    chosen = pl.concat([_of_user(fitted, rows, columns.user, predicted) for rows in users])
    named = [name for name in features if name != columns.item]
    known = catalogue.select(pl.col(key).alias(columns.item), *named, number=pl.int_range(pl.len(), dtype=pl.Int64))
    kept = [name for name in (columns.request, columns.position) if name in log.columns]
    rows = log.select("list", "rank", *kept).join(chosen, on=["list", "rank"])
    return rows.drop("list", "rank").join(known, on="number").drop("number")


def _of_user(fitted: Predictor, log: pl.DataFrame, user_column: str, predicted: str | None) -> pl.DataFrame:
    """Return `list`, `rank`, the item's number, its probability and, where it is asked for, a task's prediction."""
    user, list_N, rank_N = log[user_column][0], log["list"].to_numpy(), log["rank"].to_numpy()
    _, row_N = np.unique(list_N, return_inverse=True)
    shown_RK = np.full((row_N.max() + 1, rank_N.max() + 1), _ABSENT)
    shown_RK[row_N, rank_N] = log["number"].to_numpy()
    best_K = np.full(shown_RK.shape[1], _ABSENT)
    top = fitted.top_rows(user, len(best_K))[SCORE]
    best_K[: len(top)] = top
    is_shown_RKK = np.logical_or.accumulate(shown_RK[:, :, None] == best_K, axis=1)
    is_above_RKK = np.concatenate([np.zeros_like(is_shown_RKK[:, :1]), is_shown_RKK[:, :-1]], axis=1)
    choice_RK = np.where(is_above_RKK.all(2), _ABSENT, best_K[is_above_RKK.argmin(2)])
    choice_N = choice_RK[row_N, rank_N]
    both = pl.DataFrame({"list": list_N, "rank": rank_N, "number": choice_N, PROBABILITY: 1.0})
    other = both.with_columns(number=log["number"], **{PROBABILITY: pl.lit(0.0)}).filter(choice_N != log["number"].to_numpy())
    rows = pl.concat([both, other]).filter(pl.col("number") != _ABSENT)
    if predicted is not None:
        said = fitted.catalogue.predict({fitted.user_key: user}, rows["number"].to_torch())
        rows = rows.with_columns(pl.Series(predicted, said[predicted].numpy()))
    return rows
