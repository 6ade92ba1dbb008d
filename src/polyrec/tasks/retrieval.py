"""Retrieval: one item among all. Shape letters: B rows, P rows with a loss, K width of the vectors."""

from __future__ import annotations

import math

import polars as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polyrec.tasks.codes import roles_of
from polyrec.tasks.head import Head
from polyrec.tasks.task import State
from polyrec.tasks.two_tower import POSITIVE, DirectHead, TwoTowerTask

DRAWN = -2.0
"""The first number of the target of a row whose item was drawn uniformly."""


class Retrieval(TwoTowerTask):
    """Which item of the whole catalogue a user goes for, from vectors of users and items that can be searched fast.

    Labels: true where the user went for the item; all may be true. Output: `(1 + cos(u, v)) / 2` of the user's and the item's
    vector, from 0 to 1. Loss of a true row: a sampled softmax, `-log softmax(cos(u, v_j) / temperature - log Q_j)` at its
    own item, over the items of all rows of the batch, whatever their labels, and of rows drawn uniformly (mixed negatives,
    Yang et al., WWW 2020). `Q_j = B f_j + M / I` is how often item j is to be expected among them: B rows of the batch, f_j its
    share of the training rows, M rows drawn out of I items; dividing by it makes the softmax stand for one over all items
    instead of punishing frequent ones (Yi et al., RecSys 2019, who estimate f_j on the way, where here it is counted). Other
    rows with the row's own item are no negatives; of another item every row counts, unlike where duplicates are dropped and
    the correction stays. State: `item`, `share` of the rows.
    """

    examples = (
        {"name": "met", "label": "rating IS NOT NULL"},
        {"name": "buy", "label": "bought", "item": "sku", "negatives": 0, "temperature": 0.2, "width": 8, "tower": [16]},
    )
    metrics = ("recall@10", "ndcg@10")
    ranks_catalogue = True

    negatives: int = Field(default=256, ge=0)
    """Rows with uniformly drawn items beside those of the batch: without them, rare items are hardly ever negatives."""
    direct: bool = False
    """Whether the vectors of the two features that `inputs` names, one of the user and one of the item, are held against each
    other in one space, past the shared network and the tower, as in SASRec: a history of the item's feature lies there already.
    The two must be of one width, which the task's `width` must equal; `tower` is not read."""
    new_items: float = Field(default=0.0, ge=0, le=1)
    """What is added to the cosine of an item that no training row holds. Such an item was never a positive: its vector, of its
    content alone, scores lower than it should. The higher, the more new items are found and the fewer of the others: choose it
    on validation rows of items held out for that."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by: the lower, the more the hardest negatives count."""

    @property
    def expressions(self) -> dict[str, str]:
        return {"label": self.label, "item": self.item}

    @property
    def uniform_negatives(self) -> int:
        return self.negatives

    @property
    def bonus_of_new_items(self) -> float:
        return self.new_items / 2

    @property
    def is_direct(self) -> bool:
        return self.direct

    def build(self, width: int, state: State) -> Head:
        return DirectHead(self.width) if self.direct else super().build(width, state)

    def fit(self, labels: pl.Series) -> State:
        self.require_positive(self.rows(labels))
        items = roles_of(self, labels)["item"].drop_nulls()
        counts = items.alias("item").value_counts(name="share").sort("item")
        return counts.with_columns(pl.col("share") / len(items))

    def grow(self, labels: pl.Series, state: State) -> State:
        return self.fit(labels)

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Return 1, 0 or -1 for a true, a false and an unobserved row, its item's code, f and 1 / I, (B, 4).

        An item that no training row holds counts as the rarest.
        """
        items = roles_of(self, labels)["item"].cast(state["item"].dtype, strict=False).alias("item").to_frame()
        share = items.join(state, on="item", how="left", maintain_order="left")["share"].fill_null(state["share"].min())
        return self.rows(labels).select("flag", "item", share=share, uniform=pl.lit(1 / len(state))).to_torch()

    def as_negatives(self, target: Tensor) -> Tensor:
        return torch.cat([torch.full_like(target[:, :1], DRAWN), target[:, 1:]], 1)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        user_BK, item_BK = raw.chunk(2, 1)
        flag_B, code_B, share_B, uniform_B = target.unbind(1)
        rows_P = (flag_B == POSITIVE).nonzero().flatten()
        is_item_B, is_drawn_B = code_B >= 0, flag_B == DRAWN
        expected_B = (is_item_B & ~is_drawn_B).sum() * share_B + (is_item_B & is_drawn_B).sum() * uniform_B
        logit_PB = user_BK[rows_P] @ item_BK.T / self.temperature - expected_B.log().to(raw.dtype)
        dropped_PB = (code_B[rows_P, None] == code_B) | ~is_item_B
        dropped_PB[torch.arange(len(rows_P), device=rows_P.device), rows_P] = False
        loss_P = functional.cross_entropy(logit_PB.masked_fill(dropped_PB, -math.inf), rows_P, reduction="none")
        return raw.new_zeros(len(raw)).index_put((rows_P,), loss_P)

    def counts(self, target: Tensor) -> Tensor:
        """Return which rows are true."""
        return target[:, 0] == POSITIVE
