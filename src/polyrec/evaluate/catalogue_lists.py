"""What the lists that a fitted recommender makes are like: diversity, novelty, popularity, exposure.

Shape letters: U users, K ranks, I items, R pairs of user and item of the training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from polyrec.evaluate.catalogue_ranking import Ranked
from polyrec.evaluate.metrics.beyond_accuracy import diversity, gini, novelty, popularity, popularity_lift, profile_popularity
from polyrec.evaluate.metrics.exposure import Exposure, category_diversity, exposures
from polyrec.predict.predictor import Predictor


@dataclass(frozen=True)
class ListFigures:
    """Figures of recommended lists."""

    means: Mapping[str, float]
    """By metric and rank: `diversity@10`."""
    per_user: Mapping[str, np.ndarray]
    """Those that each user has a value of, (U,)."""
    exposure: Mapping[str, tuple[Exposure, ...]]
    """By column of the items, over all ranks."""


def describe_lists(fitted: Predictor, ranked: Ranked, ks: Sequence[int], columns: Sequence[str]) -> ListFigures:
    """Return the figures of the lists at the ranks `ks`, and the exposure by columns of the catalogue at the largest of them.

    Diversity is by what the item features make of the items, and by each of the columns. What users met are the training rows.
    """
    user, item, items = fitted.user_key, fitted.item_key, fitted.items
    numbers = items.select(item).with_row_index("number").unique(item, maintain_order=True)
    rows = fitted.seen_pairs().with_columns(pl.col(item).cast(items.schema[item])).join(numbers, on=item, maintain_order="left")
    users = max(fitted.seen_pairs()[user].n_unique(), 1)
    pairs = rows.select(user, "number").unique(maintain_order=True)
    rows_I, users_I = (np.bincount(frame["number"].to_numpy(), minlength=items.height) for frame in (rows, pairs))
    places = pl.DataFrame({user: ranked.users.cast(pairs.schema[user])}).with_row_index("place")
    profiles = pairs.join(places, on=user, maintain_order="left")
    profile_U = profile_popularity(profiles["place"].to_numpy(), profiles["number"].to_numpy(), users_I, users, places.height)
    vector_ID = fitted.catalogue.item_vectors.numpy()
    per_user, whole = {}, {}
    for k in ks:
        top_UK = ranked.rows_UK[:, :k]
        per_user[f"diversity@{k}"] = diversity(top_UK, vector_ID)
        per_user |= {f"diversity_{column}@{k}": category_diversity(top_UK, items[column]) for column in columns}
        per_user[f"novelty@{k}"] = novelty(top_UK, users_I, users)
        per_user[f"popularity@{k}"] = popularity(top_UK, users_I, users)
        whole[f"popularity_lift@{k}"] = popularity_lift(top_UK, profile_U, users_I, users)
        whole[f"gini@{k}"] = gini(top_UK, items.height)
    means = {name: _mean(value_U) for name, value_U in per_user.items()} | whole
    return ListFigures(means, per_user, {column: exposures(ranked.rows_UK, items[column], rows_I) for column in columns})


def _mean(value_U: np.ndarray) -> float:
    return float("nan") if np.isnan(value_U).all() else float(np.nanmean(value_U))
