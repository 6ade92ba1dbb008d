"""Listwise: the best of a list. Shape letters: B rows."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor

from polyrec.layers.groups import log_softmax_within, over_group
from polyrec.tasks.codes import NO_CODE
from polyrec.tasks.task import State
from polyrec.tasks.within import WithinTask


class Listwise(WithinTask):
    """Which row of a list is the best: the result of a request that is bought, the most relevant document of a query.

    Labels: numbers of at least 0, the gain of a row. Output: `sigmoid(s)` of the row's score s; it is positive and has no
    meaning across groups. Loss of a row i: `-(y_i / scale) log softmax_i(s)` over the observed rows of its group in the batch,
    where the gain is above 0 and the group has two rows or more. Summed over a group it is the cross-entropy between gains and
    the top-one probabilities of ListNet (Cao et al., ICML 2007), which takes the softmax of the labels where here they weigh
    as they are (Bruch et al., ICTIR 2019): a row without gain is never asked for, and a list without any is silent.
    State: `scale`, the mean gain of the rows above 0.
    """

    examples = (
        {"name": "bought", "label": "bought", "within": "request_id"},
        {"name": "relevance", "label": "grade", "within": "query", "tower": [32]},
    )
    metrics = ("group_ndcg", "pair_accuracy")

    within: str = "request_id"
    """Column, or SQL expression over columns, that holds the list that a row stands in: a request, a query."""

    def fit(self, labels: pl.Series) -> State:
        observed = self.rows(labels).filter(pl.col("group") != NO_CODE)
        in_list = observed.filter(pl.len().over("group") > 1)
        if not (in_list["label"] > 0).any():
            remedy = "Check `within` and the label, or drop the task."
            raise self.wrong_labels(f"a label above 0 in a group of two rows by {self.within!r}", "none", remedy)
        return pl.DataFrame({"scale": [observed["label"].filter(observed["label"] > 0).mean()]})

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        return super().targets(labels, state) / torch.tensor([state["scale"][0], 1.0], dtype=torch.float64)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        gain_B, group_B = target.unbind(1)
        return -gain_B.to(raw.dtype) * log_softmax_within(raw, group_B)

    def counts(self, target: Tensor) -> Tensor:
        """Return which rows have a gain and another row in their group."""
        gain_B, group_B = target.unbind(1)
        return (group_B >= 0) & (gain_B > 0) & (over_group(torch.ones_like(gain_B), group_B, "sum") > 1)

    def truth(self, target: Tensor, state: State) -> Tensor:
        return target[:, 0] * state["scale"][0]

    def rows(self, labels: pl.Series) -> pl.DataFrame:
        rows = super().rows(labels)
        if (rows["label"] < 0).any():
            found = f"also {rows['label'].min()!r}"
            raise self.wrong_labels("numbers of at least 0", found, "Add a constant, or use Pairwise for any numbers.")
        return rows
