"""Listwise: the best row of a list. Shape letters: B rows."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor

from polyrec.layers.groups import log_softmax_within, over_group
from polyrec.tasks.codes import NO_CODE
from polyrec.tasks.task import State
from polyrec.tasks.within import WithinTask


class Listwise(WithinTask):
    """The best row of a list: the result of a request that is bought, the most relevant document for a query.

    Labels: numbers of at least 0, the gain of a row. Output: `sigmoid(s)` of the row's score s; it is positive and not
    comparable across groups. Loss of a row i: `-(y_i / scale) log softmax_i(s)` over the observed rows of its group in the
    batch, if the gain is above 0 and the group has at least two rows. Summed over a group, it is the cross-entropy between the
    gains and the top-one probabilities of ListNet (Cao et al., ICML 2007). ListNet applies a softmax to the labels; here the
    gains are the weights (Bruch et al., ICTIR 2019), so that rows without gain and lists without any gain have no loss.
    State: `scale`, the mean of the gains above 0.
    """

    examples = (
        {"name": "bought", "label": "bought", "within": "request_id"},
        {"name": "relevance", "label": "grade", "within": "query", "tower": [32]},
    )
    metrics = ("group_ndcg", "pair_accuracy")

    within: str = "request_id"
    """Column, or SQL expression over columns, that identifies the list of a row: a request, a query."""

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
        """Return the mask of rows that have a gain above 0 and another row in their group."""
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
