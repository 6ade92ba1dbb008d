"""Multiclass: one of several classes. Shape letters: B rows, C classes."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.tasks.classes import ClassesTask
from polyrec.tasks.task import State


class Multiclass(ClassesTask):
    """One of several mutually exclusive classes: a department, a diagnosis.

    Labels: integers, strings or booleans; the classes are the sorted training labels, and other labels count as not
    observed. Output: a probability per class, (B, C), the softmax `p_c = exp(r_c) / sum_k exp(r_k)` of the raw outputs
    (Bridle, NeurIPS 1989). Loss: cross-entropy `-log p_y`, in nats. State: `class`.
    """

    examples = ({"name": "department", "label": "department_name"}, {"name": "grade", "label": "grade", "tower": [16]})
    metrics = ("accuracy", "macro_f1", "log_loss")

    def fit(self, labels: pl.Series) -> State:
        return self.classes_of(labels)

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        return self.numbers(labels, state).fill_null(0).to_torch().long()

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        return self.numbers(labels, state).is_not_null().to_torch()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(raw, target, reduction="none")

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return torch.softmax(raw, 1)

    def constant(self, targets: Tensor) -> Tensor:
        counts = torch.bincount(targets, minlength=int(targets.max()) + 1).float()
        return (counts / counts.sum()).clamp(min=1e-6).log()[None]
