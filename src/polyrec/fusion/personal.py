"""Personal: a fusion whose weights depend on the user.

Shape letters: B rows, N training rows, T weighted tasks, F features, S numbers of their vectors, U units of the first layer, H
units of a layer, V views of a user: known, partly known, unknown.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Self

import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from polyrec.core.errors import UserError
from polyrec.fusion.add import Add
from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.fusion.fusion import Fusion, State
from polyrec.fusion.head import (
    Layers,
    described,
    minimise,
    outputs,
    seeded,
    spread,
    standardised,
    tanh,
    units,
    weighed,
    with_weights,
)
from polyrec.fusion.target import worth
from polyrec.fusion.weighted import SummedFusion

MOST = math.log(10.0)
"""Maximum absolute logarithm of a multiplier: a user's weights are between a tenth and 10 times the common ones."""


class Personal(Fusion):
    """`s = sum_t w_t m_t(u) p_t`: the fusion `of`, with weights or powers multiplied by a small function of the user.

    u are the model's vectors of the features `by`, minus those of an unknown user: an unknown feature contributes nothing.
    `m_t(u) = exp(b(h_t(u) - mean_j h_j(u)))`, where h is linear or has layers separated by tanh, and b smoothly limits
    multipliers to between a tenth and ten. Subtracting the mean leaves only what affects the ranking: the relative weights.

    Training starts at `m = 1` and uses validation rows as in `Concat`, which also defines `target`. The loss is the
    cross-entropy of `sigmoid(a(u) + c(u) s)`; a, which is linear, and c, which depends on the mean, are discarded after
    training, so that users who like more, or are easier to predict, do not get other weights for that reason. Every row is used
    as that of its user, as that of an unknown user and, with several features, as that of a user with randomly masked features,
    each with a separate a and c. Unknown users thus get the best common weights. This is a varying-coefficient model (Hastie
    and Tibshirani, JRSS B 1993).

    Weights of a request replace those of the fusion and are multiplied likewise. A weight of 0 stays 0, and a negative weight
    stays negative. The model cannot be refitted, because another model has other vectors. State: `tasks` (`task`, in the order
    of the head's outputs) and the frames of `polyrec.fusion.head`.
    """

    examples = (
        {"by": ["gender", "age"]},
        {"of": {"kind": "Multiply", "powers": {"like": 1.0, "stars": 0.5}}, "by": ["age"], "target": {"like": 1}, "tower": [4]},
    )
    learns: ClassVar[bool] = True

    of: Fusion = Add()
    """Fusion whose weights are personalised, Add or Multiply: training starts at its weights and keeps them as a baseline."""
    by: tuple[str, ...] = Field(min_length=1)
    """Features of the user, or of the row, on which the weights depend; features that depend on the item are not allowed."""
    target: dict[str, float] = {}
    """Weight of each task's label in the target. If empty, every task with one number per row has the weight 1."""
    tower: tuple[int, ...] = ()
    """Widths of the hidden layers below the multipliers."""
    penalty: float = Field(default=4.0, ge=0.0)
    """c of `c S / (2 N) sum w^2`, the penalty on the weights of the S numbers of the vectors, learned from N rows: the prior
    variance of a multiplier's logarithm over users is 1 / c."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights and of the random feature masks."""

    @model_validator(mode="after")
    def _is_of_a_sum(self) -> Self:
        if not isinstance(self.of, SummedFusion):
            kind = type(self.of).__name__
            raise ValueError(f"Personal needs a fusion with a weight for each task, Add or Multiply, not {kind}")
        return self

    @property
    def summed(self) -> SummedFusion:
        """The fusion whose weights are personalised."""
        assert isinstance(self.of, SummedFusion)
        return self.of

    def names(self) -> Sequence[str]:
        return tuple(dict.fromkeys((*self.of.names(), *self.target)))

    def features_of(self) -> Sequence[str]:
        return self.by

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        return self.of.weights_among(tasks)

    def scales(self, predictions: Mapping[str, Tensor]) -> dict[str, float]:
        return self.of.scales(predictions)

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        return self.replace(of=self.of.with_weights(weights, tasks))

    def fit(
        self,
        predictions: Mapping[str, Tensor],
        labels: Mapping[str, tuple[Tensor, Tensor]],
        probabilities: Collection[str],
        context: Context = NO_CONTEXT,
    ) -> State:
        weights = {task: weight for task, weight in self.summed.named(predictions).items() if weight != 0}
        if len(weights) < 2:
            remedy = "Name more tasks, or use a fusion with common weights."
            raise UserError("Personal", expected="two or more tasks with a weight", found=f"{len(weights)}", remedy=remedy)
        y_N, is_labelled_N = worth(self.target, labels, "Personal")
        terms = [weight * self.summed.term(predictions[task]) for task, weight in weights.items()]
        term_NT = torch.stack(terms, 1)[is_labelled_N]
        widths = {name: context.features[name].shape[1] for name in self.by}
        u_NS = torch.cat([context.features[name][is_labelled_N] for name in self.by], 1)
        unknown_S = torch.cat([context.unknown[name][0] for name in self.by])
        vectors = described(widths, u_NS, unknown_S)
        rows = spread(len(u_NS), 3 * u_NS.shape[1])
        users = [standardised(vectors, u_NS[rows]) * mask_NS for mask_NS in self._masks(len(rows), [*widths.values()])]
        layers, weight_US = self._learn(term_NT[rows], users, y_N[is_labelled_N][rows])
        tasks = pl.DataFrame({"task": list(weights)})
        return {"tasks": tasks, "head": units(layers), "vectors": with_weights(vectors, weight_US)}

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        multipliers = self._multipliers(state, context)
        weights = {task: weight * multipliers.get(task, 1.0) for task, weight in self.summed.named(predictions).items()}
        return self.summed.combined(weights, predictions)

    def weights_of(self, tasks: Sequence[str], state: State | None, context: Context) -> dict[str, Tensor]:
        multipliers = self._multipliers(state, context)
        common = super().weights_of(tasks, state, context)
        return {task: weight * multipliers.get(task, torch.ones_like(weight)) for task, weight in common.items()}

    def _multipliers(self, state: State | None, context: Context) -> dict[str, Tensor]:
        """Return the multiplier of each task's weight, (B,) or (1,)."""
        assert state, "Personal learns in `fit`"
        logs = outputs(state["head"], (), weighed(state["vectors"], context.features))
        mean_B = sum(logs[1:], start=logs[0]) / len(logs)
        multipliers = [torch.exp(MOST * tanh((log_B - mean_B) / MOST)) for log_B in logs]
        return dict(zip(state["tasks"]["task"], multipliers, strict=True))

    def _masks(self, rows: int, widths: Sequence[int]) -> list[Tensor]:
        """Return the mask (N, S) of each view: all features known, some known, none known."""
        generator = torch.Generator().manual_seed(self.seed)
        masks = []
        for share in (1.0, 0.5, 0.0) if len(widths) > 1 else (1.0, 0.0):
            mask_NF = torch.rand(rows, len(widths), generator=generator) < share
            masks.append(mask_NF.repeat_interleave(torch.tensor(widths), 1).double())
        return masks

    def _learn(self, term_NT: Tensor, users: Sequence[Tensor], y_N: Tensor) -> tuple[Layers, Tensor]:
        """Return the layers, and the first layer's weights on the vectors, with the least penalised cross-entropy found from
        multipliers of 1, over several views (N, S) of the rows' users."""
        rows, numbers = users[0].shape
        raw = seeded((numbers, *self.tower, term_NT.shape[1]), self.seed)
        raw[-2] = torch.zeros_like(raw[-2]).requires_grad_()
        slope_V, shift_V = (torch.zeros(len(users), dtype=torch.float64, requires_grad=True) for _ in range(2))
        base_S = torch.zeros(numbers, dtype=torch.float64, requires_grad=True)
        term_NT = (term_NT - term_NT.mean(0)) / (float(term_NT.sum(1).std()) or 1.0)

        def cross_entropy(view: int) -> Tensor:
            x_NH = users[view]
            for number, (weight_HU, bias_H) in enumerate(zip(raw[::2], raw[1::2], strict=True)):
                x_NH = functional.linear(x_NH if number == 0 else torch.tanh(x_NH), weight_HU, bias_H)
            mean_N1 = x_NH.mean(1, keepdim=True)
            steep_N1, m_NT = (torch.exp(MOST * torch.tanh(log / MOST)) for log in (mean_N1, x_NH - mean_N1))
            score_N = functional.softplus(slope_V[view]) * (steep_N1 * m_NT * term_NT).sum(1)
            logit_N = score_N + shift_V[view] + users[view] @ base_S
            return functional.binary_cross_entropy_with_logits(logit_N, y_N)

        def loss() -> Tensor:
            vectors_penalty = numbers * (raw[0].square().sum() + base_S.square().sum())
            layers_penalty = sum((weight.square().sum() for weight in (*raw[2::2], raw[-1])), start=torch.zeros(()))
            penalty = self.penalty * (vectors_penalty + layers_penalty) / (2 * rows)
            return sum(map(cross_entropy, range(len(users))), start=penalty)

        minimise([*raw, slope_V, shift_V, base_S], loss)
        first_US, *later = [weight.detach() for weight in raw[::2]]
        return list(zip([first_US[:, :0], *later], [bias.detach() for bias in raw[1::2]], strict=True)), first_US
