"""Binary: whether an event happens. Shape letters: B rows."""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.layers.sigmoid import sigmoid
from polyrec.tasks.flags import flags
from polyrec.tasks.task import State, Task


class Binary(Task):
    """The probability of an event: a click, a purchase, a default.

    Logistic regression (Cox, JRSS B 1958) on the state of the tower: `p = 1 / (1 + exp(-r))` for the raw output r. Labels:
    booleans, or 0 and 1. Output: a probability. Loss: binary cross-entropy, `-y log p - (1 - y) log(1 - p)` in nats,
    computed from the logit. State: `rate`, the fraction of ones among the observed training labels.
    """

    examples = ({"name": "like", "label": "rating >= 4"}, {"name": "buy", "label": "bought", "tower": [], "dropout": 0.1})
    is_logit = True
    metrics = ("auc", "gauc", "log_loss", "ece")

    def fit(self, labels: pl.Series) -> State:
        return pl.DataFrame({"rate": [self._zeros_and_ones(labels).mean()]})

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        return self._zeros_and_ones(labels).fill_null(0.0).to_torch().float()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(raw, target, reduction="none")

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return sigmoid(raw)

    def constant(self, targets: Tensor) -> Tensor:
        return torch.logit(targets.mean().clamp(1e-6, 1 - 1e-6)).reshape(1)

    def _zeros_and_ones(self, labels: pl.Series) -> pl.Series:
        return flags(self, labels, remedy="Write a condition, such as \"outcome = 'yes'\".")
