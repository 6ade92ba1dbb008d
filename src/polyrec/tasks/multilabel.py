"""Multilabel: any number of several labels. Shape letters: B rows, C labels."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.layers.sigmoid import sigmoid
from polyrec.tasks.classes import ClassesTask
from polyrec.tasks.task import State


class Multilabel(ClassesTask):
    """Any subset of several labels: interests, genres, findings.

    Labels: lists of integers or strings; an empty list means "none of them", null means "not observed". The C labels are
    those of the training rows, sorted; others are ignored. Output: a probability per label, (B, C), a separate sigmoid
    `p_c = 1 / (1 + exp(-r_c))` of each raw output. Loss: binary cross-entropy averaged over the labels,
    `-(1/C) sum_c (y_c log p_c + (1 - y_c) log(1 - p_c))` in nats (Nam et al., ECML PKDD 2014). State: `class`.
    """

    examples = ({"name": "interest", "label": "genres", "inputs": "user"}, {"name": "findings", "label": "findings"})
    metrics = ("micro_auc", "macro_auc", "log_loss")

    def fit(self, labels: pl.Series) -> State:
        return self.classes_of(self._lists(labels).explode(empty_as_null=True))

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        lists = self._lists(labels)
        rows = pl.int_range(len(lists), eager=True).repeat_by(lists.list.len().fill_null(0).clip(1, None)).explode()
        numbers = self.numbers(lists.explode(empty_as_null=True), state)
        pairs = pl.DataFrame({"row": rows, "number": numbers}).drop_nulls()
        targets = torch.zeros(len(lists), len(state))
        targets[pairs["row"].to_torch(), pairs["number"].to_torch()] = 1.0
        return targets

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(raw, target, reduction="none").mean(1)

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return sigmoid(raw)

    def constant(self, targets: Tensor) -> Tensor:
        return torch.logit(targets.mean(0, keepdim=True).clamp(1e-6, 1 - 1e-6))

    def _lists(self, labels: pl.Series) -> pl.Series:
        if labels.dtype == pl.Null:
            return labels.cast(pl.List(pl.String))
        if not isinstance(labels.dtype, pl.List):
            remedy = "Split the column, such as \"string_to_array(genres, ' ')\"."
            raise self.wrong_labels("lists", f"the type {labels.dtype}", remedy)
        return labels
