"""Exposure by a column of the items: how the attention of recommended lists is distributed.

Shape letters: U users, K ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Exposure:
    """Share of attention that the items with one value of a column receive, next to their share of items and rows."""

    value: str
    """The value; `null` if it is unknown."""
    exposure: float
    """Share of all ranks of all lists, where rank r counts `1 / log2(r + 1)`."""
    catalogue: float
    """Share of the catalogue's items."""
    training: float
    """Share of the training rows."""


def exposures(ranked_UK: np.ndarray, column: pl.Series, rows_I: np.ndarray) -> tuple[Exposure, ...]:
    """Return the exposure of each value of a column of the catalogue, the most exposed first.

    The attention of a rank is the discount of NDCG (Singh and Joachims, KDD 2018). An item with a list of values divides its
    attention equally among them. `rows_I` is the number of training rows of each item.
    """
    discount_K = 1 / np.log2(np.arange(ranked_UK.shape[1]) + 2)
    is_item_UK = ranked_UK >= 0
    shown_I = np.bincount(ranked_UK[is_item_UK], (is_item_UK * discount_K)[is_item_UK], len(column))
    items = pl.DataFrame({"value": column, "exposure": shown_I, "catalogue": np.ones(len(column)), "training": rows_I})
    figures = ("exposure", "catalogue", "training")
    if isinstance(column.dtype, pl.List | pl.Array):
        values = pl.col("value").cast(pl.List(pl.String))
        unknown = pl.lit(["null"], dtype=pl.List(pl.String))
        items = items.with_columns(pl.when(values.list.len() > 0).then(values).otherwise(unknown).alias("value"))
        items = items.with_columns(pl.col(name) / pl.col("value").list.len() for name in figures).explode("value")
    items = items.with_columns(pl.col("value").cast(pl.String).fill_null("null"))
    totals = items.group_by("value", maintain_order=True).agg(pl.col(*figures).sum())
    shares = totals.with_columns(pl.col(name) / pl.col(name).sum() for name in figures)
    return tuple(Exposure(*row) for row in shares.sort(["exposure", "value"], descending=[True, False]).iter_rows())


def category_diversity(ranked_UK: np.ndarray, column: pl.Series) -> np.ndarray:
    """Return the diversity of each list by the values of a column of its items, (U,); see `diversity` for vectors.

    The vector of an item has a 1 for each of its values of the column. For single values, the cosine of two items is 1 if the
    values agree, else 0. For lists of values, it is the number of shared values divided by the root of the product of their
    numbers (Ochiai). An item without a value has cosine 0 with every item.
    """
    values = column.to_frame("value").with_row_index("item").with_columns(pl.col("item").cast(pl.Int64))
    if isinstance(column.dtype, pl.List | pl.Array):
        values = values.with_columns(pl.col("value").cast(pl.List(pl.String))).explode("value")
    values = values.drop_nulls("value").unique(maintain_order=True).with_columns(weight=1 / pl.len().over("item").sqrt())
    user_N, rank_N = (ranked_UK >= 0).nonzero()
    lists = pl.DataFrame({"user": user_N, "item": ranked_UK[user_N, rank_N].astype(np.int64)}).join(
        values, on="item", maintain_order="left_right"
    )
    sums = lists.group_by("user", "value", maintain_order=True).agg(
        pl.col("weight").sum(), squares=pl.col("weight").pow(2).sum()
    )
    shared = sums.group_by("user", maintain_order=True).agg((pl.col("weight").pow(2) - pl.col("squares")).sum())
    shared_U = np.zeros(len(ranked_UK))
    shared_U[shared["user"].to_numpy()] = shared["weight"].to_numpy()
    count_U = (ranked_UK >= 0).sum(1)
    return 1 - shared_U / np.where(count_U > 1, count_U * (count_U - 1.0), np.nan)
