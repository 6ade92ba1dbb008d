"""Retrieval: one item of the catalogue. Shape letters: B rows, P rows with a loss, K width of the vectors."""

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
"""First number of the target of a row whose item is drawn uniformly."""


class Retrieval(TwoTowerTask):
    """The item of the catalogue that a user chooses, from vectors of users and items that allow a nearest-neighbour search.

    Labels: true where the user chose the item; all may be true. Output: `(1 + cos(u, v)) / 2` of the user's vector u and the
    item's vector v, from 0 to 1. Loss of a true row: the sampled softmax `-log softmax(cos(u, v_j) / temperature - log Q_j)` at
    its item. The candidates j are the items of all rows of the batch, whatever their labels, and of rows drawn uniformly
    (mixed negatives; Yang et al., WWW 2020). `Q_j = B f_j + M / I` is the expected number of occurrences of item j among the
    candidates, for B rows of the batch, the share f_j of item j in the training rows, and M rows drawn from I items. The
    correction by Q_j makes the loss approximate a softmax over all items instead of penalising frequent items (Yi et al.,
    RecSys 2019, who estimate f_j during training; here it is counted beforehand). Other rows with the same item are not
    negatives. Repeated rows of another item all count, since Q_j includes them. State: `item`, `share` of the rows.
    """

    examples = (
        {"name": "met", "label": "rating IS NOT NULL"},
        {"name": "buy", "label": "bought", "item": "sku", "negatives": 0, "temperature": 0.2, "width": 8, "tower": [16]},
    )
    metrics = ("recall@10", "ndcg@10")
    ranks_catalogue = True

    negatives: int = Field(default=256, ge=0)
    """Number of rows with uniformly drawn items that are added to each batch; without them, rare items are hardly ever
    negatives."""
    direct: bool = False
    """Set `direct` to compare the vectors of the two features in `inputs`, one of the user and one of the item, without the
    shared network and the tower. A history of the item's feature is in the space of that feature, as in SASRec. Both features
    and the task must have the same `width`; `tower` is ignored."""
    new_items: float = Field(default=0.0, ge=0, le=1)
    """Amount added to the cosine of an item that is in no training row. Such an item was never a positive, so that its vector,
    computed from its content alone, scores too low. Higher values recommend more new items and fewer others; choose the value
    on validation rows whose items are held out from training."""
    temperature: float = Field(default=0.05, gt=0)
    """Divisor of the cosines; the lower it is, the higher is the weight of the hardest negatives."""

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
        """Return 1, 0 or -1 for a true, false or unobserved row, and its item's code, f and 1 / I, (B, 4).

        An item that is in no training row receives the lowest share f.
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
        """Return the mask of true rows."""
        return target[:, 0] == POSITIVE
