"""Concat: a head over all predictions that learns what a good row is. Shape letters: B rows, T tasks, H width of a layer."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Self

import polars as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polyrec.core.errors import UserError
from polyrec.fusion.arithmetic import sigmoid
from polyrec.fusion.fusion import Fusion, State, double

_SMALLEST = 1e-12
_STEPS, _ROWS = 200, 100_000
"""Iterations of L-BFGS at most, and rows that are learned from at most, evenly spread."""

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weight (H, inputs) and bias (H,) of each layer."""


class Concat(Fusion):
    """`s = MLP(x)`: the predictions side by side in a small network, which says the log-odds that a row is what `target` wants.

    x_t is the log-odds of a probability and any other prediction as it is, both standardised; between layers stands tanh.
    It is stacking (Wolpert, Neural Networks 1992): the head learns from the calibrated predictions of validation rows, which
    the model did not learn from, by cross-entropy against `y = sum_t |w_t| y_t / sum_t |w_t|` over the row's observed labels,
    each scaled to [0, 1] by its range; of a task with a weight below 0, `1 - y_t` counts. Rows without such a label teach
    nothing. `Recommender.relevant` is no target, for tables that were prepared on disk hold labels only: declare a Binary task
    of that condition. With `monotone`, weights are kept at 0 or above by softplus, as in monotone networks (Sill, NeurIPS
    1997). Where the model is refitted on all rows, the head stays. State: `inputs` (`task`, `probability`, `mean`, `scale`)
    and `head` (a row for each unit: `layer`, `bias`, `weights`).
    """

    examples = ({}, {"target": {"like": 1.0, "stars": 0.5}, "tower": []})
    learns: ClassVar[bool] = True

    target: dict[str, float] = {}
    """Weight of each task's label in what makes a good row; empty, every task with one number a row weighs 1."""
    tower: tuple[int, ...] = (8,)
    """Widths of the layers below the score; without any, the score is a weighted sum of the inputs."""
    monotone: bool = True
    """Whether the score never falls, but for rounding, where a task's prediction rises; of a task with a weight below 0, where
    it falls."""
    penalty: float = Field(default=1e-3, ge=0.0)
    """Weight of the mean squared weight beside the cross-entropy."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first weights."""

    def names(self) -> Sequence[str]:
        return tuple(self.target)

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        return {}

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        return self

    def fit(
        self, predictions: Mapping[str, Tensor], labels: Mapping[str, tuple[Tensor, Tensor]], probabilities: Collection[str]
    ) -> State:
        y_N, is_known_N = self._target(labels)
        tasks = list(predictions)
        plain_NT = torch.stack([_plain(double(predictions[task]), task in probabilities) for task in tasks], 1)[is_known_N]
        scale_T, mean_T = plain_NT.std(0), plain_NT.mean(0)
        scale_T = torch.where(scale_T > 0, scale_T, 1.0)
        rows = torch.arange(0, len(plain_NT), max(len(plain_NT) // _ROWS, 1))
        sign_T = torch.tensor([-1.0 if self.target.get(task, 1.0) < 0 else 1.0 for task in tasks], dtype=torch.float64)
        layers = self._learn(((plain_NT - mean_T) / scale_T)[rows], y_N[is_known_N][rows], sign_T)
        units = [
            (number, float(bias), weight.tolist())
            for number, (weight_HT, bias_H) in enumerate(layers)
            for weight, bias in zip(weight_HT, bias_H, strict=True)
        ]
        schema = pl.Schema({"layer": pl.Int64(), "bias": pl.Float64(), "weights": pl.List(pl.Float64())})
        are_probabilities = [task in probabilities for task in tasks]
        columns = (tasks, are_probabilities, mean_T.tolist(), scale_T.tolist())
        inputs = dict(zip(("task", "probability", "mean", "scale"), columns, strict=True))
        return {"inputs": pl.DataFrame(inputs), "head": pl.DataFrame(units, schema=schema, orient="row")}

    def score(self, predictions: Mapping[str, Tensor], requests: Tensor | None = None, state: State | None = None) -> Tensor:
        assert state, "Concat learns in `fit`"
        x = [
            (_plain(double(predictions[task]), probability) - mean) / scale
            for task, probability, mean, scale in state["inputs"].rows()
        ]
        for number, layer in itertools.groupby(state["head"].rows(), key=lambda unit: unit[0]):
            x = x if number == 0 else [_tanh(own_B) for own_B in x]
            x = [_sum(bias, weights, x) for _, bias, weights in layer]
        return x[0]

    def _target(self, labels: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return what each row (N,) is worth, between 0 and 1, and of which rows (N,) that is known."""
        weights = self.target or dict.fromkeys(labels, 1.0)
        total_N = sum((torch.zeros_like(label) for _, label in labels.values()), start=torch.zeros(()))
        weight_N = total_N.clone()
        for task, weight in weights.items():
            if task not in labels:
                remedy = "Leave it out of `target`."
                raise UserError(f"target {task!r} of the fusion", expected="one label a row", found="several", remedy=remedy)
            mask_N, label_N = labels[task]
            low, high = (label_N[mask_N].min(), label_N[mask_N].max()) if mask_N.any() else (0.0, 1.0)
            share_N = ((label_N - low) / max(float(high - low), _SMALLEST)).clamp(0, 1)
            total_N += mask_N * abs(weight) * (share_N if weight > 0 else 1 - share_N)
            weight_N += mask_N * abs(weight)
        is_known_N = weight_N > 0
        if int(is_known_N.sum()) < 2 or bool((total_N[is_known_N] == total_N[is_known_N][0]).all()):
            found, remedy = "none that differ", "Give more validation rows, or other targets."
            raise UserError("the fusion Concat", expected="validation rows to learn from", found=found, remedy=remedy)
        return total_N / weight_N.clamp(min=_SMALLEST), is_known_N

    def _learn(self, x_NT: Tensor, y_N: Tensor, sign_T: Tensor) -> Layers:
        """Return the layers with the least cross-entropy that L-BFGS finds from seeded first weights."""
        generator = torch.Generator().manual_seed(self.seed)
        widths = [x_NT.shape[1], *self.tower, 1]
        raw = []
        for inputs, units in itertools.pairwise(widths):
            weight_HT = torch.randn(units, inputs, generator=generator, dtype=torch.float64) / inputs**0.5
            raw += [weight_HT.requires_grad_(), torch.zeros(units, dtype=torch.float64, requires_grad=True)]

        def layers() -> Layers:
            weights = [functional.softplus(own) for own in raw[::2]] if self.monotone else list(raw[::2])
            if self.monotone:
                weights[0] = weights[0] * sign_T
            return list(zip(weights, raw[1::2], strict=True))

        optimizer = torch.optim.LBFGS(raw, max_iter=_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            found = layers()
            x_NH = x_NT
            for number, (weight_HT, bias_H) in enumerate(found):
                x_NH = functional.linear(x_NH if number == 0 else torch.tanh(x_NH), weight_HT, bias_H)
            penalty = sum((weight_HT.square().mean() for weight_HT, _ in found), start=torch.zeros(()))
            value = functional.binary_cross_entropy_with_logits(x_NH.squeeze(1), y_N) + self.penalty * penalty
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        return [(weight_HT.detach(), bias_H.detach()) for weight_HT, bias_H in layers()]


def _plain(prediction_B: Tensor, is_probability: bool) -> Tensor:
    """Return the log-odds of a probability, anything else as it is."""
    if not is_probability:
        return prediction_B
    kept_B = prediction_B.clamp(_SMALLEST, 1 - _SMALLEST)
    return torch.log(kept_B) - torch.log1p(-kept_B)


def _sum(bias: float, weights: Sequence[float], x: Sequence[Tensor]) -> Tensor:
    """Return `bias + sum_i w_i x_i`, term by term: products of matrices give a row other last bits beside other rows."""
    total_B = torch.full_like(x[0], bias)
    for weight, own_B in zip(weights, x, strict=True):
        total_B = total_B + weight * own_B
    return total_B


def _tanh(x_B: Tensor) -> Tensor:
    return 2 * sigmoid(2 * x_B) - 1
