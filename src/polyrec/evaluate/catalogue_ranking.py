"""Ranking the whole catalogue for the users of a test table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from polyrec.core.names import SCORE
from polyrec.core.progress import tracked
from polyrec.data.conditions.expressions import meets, require_columns
from polyrec.data.labels import has_label, label_of, read_labels
from polyrec.evaluate.metrics.ranking import coverage, ranking_values
from polyrec.predict.predictor import Predictor


@dataclass(frozen=True)
class Ranked:
    """The catalogue ranked for users who have a relevant item. Shape letters: U users, K ranks."""

    means: dict[str, float]
    """Ranking metrics, the mean over users, and coverage."""
    per_user: dict[str, np.ndarray]
    """Ranking metrics of each user, (U,)."""
    users: pl.Series
    """Keys of the users."""
    rows_UK: np.ndarray
    """Rows of the catalogue in rank order, -1 where a list is shorter."""


def rank_catalogue(fitted: Predictor, frame: pl.DataFrame, ks: Sequence[int]) -> dict[str, Ranked]:
    """Rank the catalogue for every user who has a relevant item among the rows.

    The result has an entry for the fused score and for each task that ranks the catalogue; it is empty if no user has a
    relevant item.
    """
    user, item = fitted.user_key, fitted.item_key
    require_columns(frame, (user, item), "the ranking")
    relevant = {SCORE: _pairs(fitted, frame.filter(_relevant(fitted, frame)))}
    for task in fitted.spec.tasks:
        if task.ranks_catalogue and has_label(frame, task):
            labels = label_of(read_labels(frame, task)).cast(pl.Boolean).fill_null(False)
            relevant[task.name] = _pairs(fitted, frame.filter(labels))
    people = pl.concat([pairs[user] for pairs in relevant.values()]).unique(maintain_order=True)
    if len(people) == 0:
        return {}
    tops = {name: np.full((len(people), max(ks)), -1) for name in relevant}
    for place, person in enumerate(tracked(people.to_list(), "ranking the catalogue")):
        for name, top in fitted.top_rows(person, max(ks)).items():
            if name in tops:
                tops[name][place, : len(top)] = top
    places = pl.DataFrame({user: people}).with_row_index("place")
    rankings = {}
    for name, pairs in relevant.items():
        if pairs.height == 0:
            continue
        place_R = pairs.join(places, on=user, how="left", maintain_order="left")["place"].to_numpy()
        place_U, user_R = np.unique(place_R, return_inverse=True)
        ranked_UK = tops[name][place_U]
        per_user = ranking_values(ranked_UK, user_R, pairs["number"].to_numpy(), ks)
        means = {metric: float(values.mean()) for metric, values in per_user.items()}
        means |= {f"coverage@{k}": coverage(ranked_UK, fitted.items.height, k) for k in ks}
        rankings[name] = Ranked(means, per_user, people.gather(place_U), ranked_UK)
    return rankings


def _pairs(fitted: Predictor, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct pairs of user and item that are new to the user, with the item's row in the catalogue."""
    user, item = fitted.user_key, fitted.item_key
    numbers = fitted.items.select(item).with_row_index("number")
    log, items = fitted.seen_pairs().schema, fitted.items.schema
    keys = frame.select(pl.col(user).cast(log[user], strict=False), pl.col(item).cast(items[item], strict=False))
    pairs = keys.drop_nulls().unique(maintain_order=True)
    pairs = pairs.join(fitted.seen_pairs(), on=[user, item], how="anti", maintain_order="left")
    pairs = pairs.join(numbers, on=item, how="left", maintain_order="left")
    return pairs.with_columns(pl.col("number").fill_null(fitted.items.height))


def _relevant(fitted: Predictor, frame: pl.DataFrame) -> pl.Series:
    condition = fitted.spec.relevant
    if condition is not None:
        return meets(frame, condition, "condition `relevant`")
    for task in fitted.spec.tasks:
        if task.is_logit and has_label(frame, task):
            return read_labels(frame, task).cast(pl.Boolean).fill_null(False)
    return pl.Series(np.ones(frame.height, dtype=bool))
