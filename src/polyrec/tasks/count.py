"""Count: the number of events. Shape letters: B rows."""

from __future__ import annotations

import math

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from polyrec.tasks.head import Head, TowerHead
from polyrec.tasks.numbers import NumbersTask
from polyrec.tasks.task import State

_LEAST_LOG_RATE = math.log(1e-7)

_MOST_LOG_RATE = 30.0


class Count(NumbersTask):
    """The number of events: plays, purchases, visits, claims.

    Poisson regression with a logarithmic link (Nelder and Wedderburn, JRSS A 1972): the raw output is `r = log mu`; its bias is
    initialised to the mean of the training labels. Labels: whole numbers from 0. Output: the expected count mu. Loss: half the
    Poisson deviance, `y log(y / mu) - y + mu` in nats. It is the negative log-likelihood minus that of a perfect prediction:
    in contrast to the usual `mu - y log mu` its minimum is 0, at `mu = y`. Above `r = 30`, mu is constant and the loss linear
    in r. State: `mean`.
    """

    examples = ({"name": "plays", "label": "plays"}, {"name": "visits", "label": "visits", "tower": [32], "dropout": 0.1})
    metrics = ("poisson_deviance", "rmse", "mae")

    def fit(self, labels: pl.Series) -> State:
        return pl.DataFrame({"mean": [self._whole(labels).mean()]})

    def build(self, width: int, state: State) -> Head:
        head = TowerHead(width, self.tower, self.outputs(state), self.dropout)
        nn.init.constant_(head.last.bias, _log_rate(state["mean"].to_torch()).item())
        return head

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        return self._whole(labels).fill_null(0.0).to_torch().float()

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        log_mu = raw.clamp(max=_MOST_LOG_RATE)
        off = log_mu - torch.log(target.clamp(min=1))
        deviance = torch.where(target > 0, target * (torch.expm1(off) - off), torch.exp(log_mu))
        return deviance.clamp(min=0) + math.exp(_MOST_LOG_RATE) * functional.relu(raw - _MOST_LOG_RATE)

    def predict(self, raw: Tensor, state: State) -> Tensor:
        return torch.exp(raw.clamp(max=_MOST_LOG_RATE))

    def constant(self, targets: Tensor) -> Tensor:
        return _log_rate(targets.double().mean()).float().reshape(1)

    def _whole(self, labels: pl.Series) -> pl.Series:
        numbers = self.finite(labels)
        invalid = numbers.filter((numbers < 0) | (numbers != numbers.floor())).unique().sort().head(5)
        if len(invalid):
            found = f"also {invalid.to_list()}"
            raise self.wrong_labels("whole numbers from 0", found, "Use Regression for a quantity, or fix the label.")
        return numbers


def _log_rate(mean: Tensor) -> Tensor:
    return torch.log(mean).clamp(min=_LEAST_LOG_RATE)
