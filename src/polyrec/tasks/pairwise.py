"""Pairwise: which of two. Shape letters: B rows, P pairs."""

from __future__ import annotations

from typing import Literal

import polars as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polyrec.layers.groups import over_group, pairs_within
from polyrec.tasks.codes import NO_CODE
from polyrec.tasks.task import State
from polyrec.tasks.within import WithinTask


class Pairwise(WithinTask):
    """Which row of a group is preferred to which: the film that a user rates higher, the offer that was clicked.

    Labels: finite numbers, of which only the order within a group matters. Output: `sigmoid(s)` of the row's score s, the
    probability that it is preferred to a row of score zero; it is positive and has no meaning across groups. Loss of a row i:
    the mean over the rows j of its group in the batch with a lower label of `-log sigmoid(s_i - s_j)` (RankNet, Burges et al.,
    ICML 2005; BPR, Rendle et al., UAI 2009) or of the hinge `max(0, margin - (s_i - s_j))`. BPR as it is mostly implemented
    draws one unseen item as j; here j is every row of the group whose observed label is lower, so that grades and shown but
    refused rows are used, and a row without such a j has no loss. State:
    `groups`, the number of groups with two labels or more.
    """

    examples = (
        {"name": "preferred", "label": "rating", "within": "user_id"},
        {"name": "chosen", "label": "clicked", "within": "request_id", "pair_loss": "hinge", "margin": 0.5, "tower": [16]},
    )

    within: str = "user_id"
    """Column, or SQL expression over columns, that holds what a row is compared within: a user, a request."""
    pair_loss: Literal["logistic", "hinge"] = "logistic"
    """What a pair costs: `logistic` always asks for more distance, `hinge` stops at the margin."""
    margin: float = Field(default=1.0, gt=0)
    """Difference of scores from which a pair costs nothing, with the hinge."""

    def fit(self, labels: pl.Series) -> State:
        observed = self.rows(labels).filter(pl.col("group") != NO_CODE)
        differing = observed.group_by("group").agg(pl.col("label").n_unique() > 1)["label"].sum()
        if not differing:
            remedy = "Check `within` and the label, or drop the task."
            found = f"one label throughout in each of {observed['group'].n_unique()} groups"
            raise self.wrong_labels(f"two labels or more within a group of {self.within!r}", found, remedy)
        return pl.DataFrame({"groups": [differing]})

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        label_B, group_B = target.unbind(1)
        i_P, j_P = pairs_within(group_B)
        lower_P = label_B[j_P] < label_B[i_P]
        i_P, j_P = i_P[lower_P], j_P[lower_P]
        ahead_P = raw[i_P] - raw[j_P]
        loss_P = functional.softplus(-ahead_P) if self.pair_loss == "logistic" else torch.relu(self.margin - ahead_P)
        pairs_B = torch.bincount(i_P, minlength=len(raw))
        return torch.zeros_like(raw).index_add(0, i_P, loss_P) / pairs_B.clamp(min=1)

    def counts(self, target: Tensor) -> Tensor:
        """Return which rows have a row of a lower label in their group."""
        label_B, group_B = target.unbind(1)
        return (group_B >= 0) & (label_B > over_group(label_B, group_B, "amin"))
