"""Pairwise: preferences between the rows of a group. Shape letters: B rows, P pairs."""

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
    """The order of the rows of a group: the film that a user rates higher, the offer that was clicked.

    Labels: finite numbers; only their order within a group matters. Output: `sigmoid(s)` of the row's score s, the
    probability that it is preferred to a row of score zero; it is positive and not comparable across groups. Loss of a row i:
    the mean of `-log sigmoid(s_i - s_j)` (RankNet, Burges et al., ICML 2005; BPR, Rendle et al., UAI 2009), or of the hinge
    `max(0, margin - (s_i - s_j))`, over the rows j of its group in the batch with a lower observed label. Most implementations
    of BPR draw one unseen item as j. Here grades and rows that were shown but rejected are used, and a row without
    such a j has no loss. State: `groups`, the number of groups with at least two different labels.
    """

    examples = (
        {"name": "preferred", "label": "rating", "within": "user_id"},
        {"name": "chosen", "label": "clicked", "within": "request_id", "pair_loss": "hinge", "margin": 0.5, "tower": [16]},
    )

    within: str = "user_id"
    """Column, or SQL expression over columns, that identifies the group in which rows are compared: a user, a request."""
    pair_loss: Literal["logistic", "hinge"] = "logistic"
    """Loss of a pair: `logistic` decreases with any difference of scores, `hinge` is zero beyond the margin."""
    margin: float = Field(default=1.0, gt=0)
    """Difference of scores beyond which the hinge loss of a pair is zero."""

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
        """Return the mask of rows whose group contains a row with a lower label."""
        label_B, group_B = target.unbind(1)
        return (group_B >= 0) & (label_B > over_group(label_B, group_B, "amin"))
