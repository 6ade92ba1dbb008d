"""Base of tasks that compare rows within groups. Shape letters: B rows."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor

from polyrec.layers.sigmoid import sigmoid
from polyrec.tasks.codes import NO_CODE, codes, roles_of
from polyrec.tasks.numbers import NumbersTask
from polyrec.tasks.task import State


class WithinTask(NumbersTask, kind=False):
    """A task whose score orders the rows of a group.

    Targets (B, 2) are the label and the group's code, which is -1 if either is null. Only differences within a group are
    learned, so that scores are not comparable across groups.
    """

    metrics = ("pair_accuracy", "group_ndcg")
    relates_rows = True

    within: str
    """Column, or SQL expression over columns, that identifies the group in which rows are compared: a user, a request."""

    @property
    def expressions(self) -> dict[str, str]:
        return {"label": self.label, "group": self.within}

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        return self.rows(labels).fill_null(0.0).to_torch()

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        return (self.rows(labels)["group"] != NO_CODE).to_torch()

    def as_negatives(self, target: Tensor) -> Tensor:
        return torch.stack([target[:, 0], torch.full_like(target[:, 1], NO_CODE)], 1)

    def group(self, target: Tensor) -> Tensor:
        return target[:, 1].long()

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return sigmoid(raw)

    def truth(self, target: Tensor, state: State) -> Tensor:
        return target[:, 0]

    def constant(self, targets: Tensor) -> Tensor:
        return torch.zeros(1)

    def rows(self, labels: pl.Series) -> pl.DataFrame:
        """Return the columns `label` and `group`, the code of the group, of each row."""
        roles = roles_of(self, labels)
        label = self.finite(roles["label"])
        group = codes(roles["group"]).zip_with(label.is_not_null(), pl.Series([float(NO_CODE)]))
        return pl.DataFrame({"label": label, "group": group})
