"""Triplet: users nearer to positive items than to negatives. Shape letters: B rows, P rows with a loss, K width of vectors."""

from __future__ import annotations

import math
from typing import Literal

import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from polyrec.tasks.task import State
from polyrec.tasks.two_tower import POSITIVE, UNOBSERVED, TwoTowerTask


class Triplet(TwoTowerTask):
    """Users and items as points on one sphere, with users nearer to their positive items than to others.

    Labels: true or false; true is a positive. Output: `(1 + cos(u, v)) / 2` of the user's vector u and the item's vector v,
    from 0 to 1. Loss of a positive row: `max(0, d(u, v) - d(u, n) + margin)`, where d is the squared distance of unit vectors
    (FaceNet, Schroff et al., CVPR 2015). The user is the anchor. The negatives n are the items of the batch that are not
    positive for this user in the batch; rows with a null or false label contribute their items, too.

    `random` averages the loss over all negatives; other implementations draw one, which has the same expectation and more
    variance. `hard` takes the nearest n. `semi_hard` takes the nearest n farther than v or, if all are nearer, the farthest;
    FaceNet also requires that it is within the margin, which changes no loss above zero. `hard` and `semi_hard` suit items that
    are observed to be negative: among items merely not seen, the nearest are often those that the user would like. State:
    `positives`, the number of true labels.
    """

    examples = (
        {"name": "fits", "label": "rating >= 4"},
        {"name": "buy", "label": "bought", "negatives": "semi_hard", "margin": 0.5, "width": 8, "tower": [16]},
        {"name": "match", "label": "matched", "user": "patient", "item": "trial", "negatives": "hard", "tower": []},
    )
    metrics = ("auc", "gauc")

    user: str = "user_id"
    """Column, or SQL expression over columns, that identifies the user."""
    margin: float = Field(default=0.2, gt=0)
    """Squared distance by which a negative should be farther than the positive; squared distances range from 0 to 4."""
    negatives: Literal["random", "semi_hard", "hard"] = "random"
    """Negatives of a positive row: the average over all in the batch, the nearest beyond the positive, or the nearest."""
    width: int = Field(default=32, ge=1)
    """Width of the vectors of users and items."""

    @property
    def expressions(self) -> dict[str, str]:
        return {"label": self.label, "user": self.user, "item": self.item}

    def fit(self, labels: pl.Series) -> State:
        rows = self.rows(labels)
        self.require_positive(rows)
        return pl.DataFrame({"positives": [(rows["flag"] == POSITIVE).sum()]})

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Return 1, 0 or -1 for a positive, negative or unobserved row, and the user's and item's codes, (B, 3)."""
        return self.rows(labels).select("flag", "user", "item").to_torch()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        user_BK, item_BK = raw.chunk(2, 1)
        rows_P, eligible_PB = _eligible(target)
        positive_P = 2 - 2 * (user_BK[rows_P] * item_BK[rows_P]).sum(1)
        distance_PB = 2 - 2 * user_BK[rows_P] @ item_BK.T
        if self.negatives == "random":
            loss_PB = torch.relu(positive_P[:, None] - distance_PB + self.margin)
            loss_P = (loss_PB * eligible_PB).sum(1) / eligible_PB.sum(1)
        else:
            nearest_P = _nearest(distance_PB, eligible_PB)
            if self.negatives == "semi_hard":
                beyond_PB = eligible_PB & (distance_PB > positive_P[:, None])
                farthest_P = distance_PB.masked_fill(~eligible_PB, -math.inf).max(1).values
                nearest_P = torch.where(beyond_PB.any(1), _nearest(distance_PB, beyond_PB), farthest_P)
            loss_P = torch.relu(positive_P - nearest_P + self.margin)
        return raw.new_zeros(len(raw)).index_put((rows_P,), loss_P)

    def counts(self, target: Tensor) -> Tensor:
        """Return the mask of positive rows that have a negative in the batch."""
        counts_B = torch.zeros(len(target), dtype=torch.bool, device=target.device)
        counts_B[_eligible(target)[0]] = True
        return counts_B

    def as_negatives(self, target: Tensor) -> Tensor:
        return torch.cat([torch.full_like(target[:, :1], UNOBSERVED), target[:, 1:]], 1)


def _nearest(distance_PB: Tensor, among_PB: Tensor) -> Tensor:
    return distance_PB.masked_fill(~among_PB, math.inf).min(1).values


def _eligible(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positive rows that have a negative, and the mask of rows whose items are negatives for them, (P, B)."""
    flag_B, user_B, item_B = target.unbind(1)
    users, user_B = torch.unique(user_B, return_inverse=True)
    items, number_B = torch.unique(item_B, return_inverse=True)
    rows_P = (flag_B == POSITIVE).nonzero().flatten()
    fits = torch.zeros(len(users), len(items), dtype=torch.bool, device=target.device)
    fits[user_B[rows_P], number_B[rows_P]] = True
    eligible_PB = ~fits[user_B[rows_P]][:, number_B] & (item_B >= 0)
    some_P = eligible_PB.any(1)
    return rows_P[some_P], eligible_PB[some_P]
