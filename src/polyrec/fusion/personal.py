"""Personal: a fusion whose weights depend on who asks.

Shape letters: B rows, N rows to learn from, T tasks that are weighed, F features, S numbers of their vectors, U units of the
first layer, H units of a layer, V views of a user: known, known in part, unknown.
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
"""The largest logarithm of what a weight is multiplied by: nobody's weights are more than 10 times or less than a tenth."""


class Personal(Fusion):
    """`s = sum_t w_t m_t(u) p_t`: the fusion `of`, its weights or powers multiplied by what a light head makes of the user.

    u are the vectors that the model has of the features `by`, less those of a user of whom nothing is known: a feature that is
    not known adds nothing. `m_t(u) = exp(b(h_t(u) - mean_j h_j(u)))`, where h is linear, or has layers with tanh between, and b
    bounds multipliers smoothly to a tenth and ten times. The mean leaves what ranks: how tasks weigh against each other.

    The head begins at `m = 1` and learns from validation rows like `Concat`, which says what `target` means, by cross-entropy
    of `sigmoid(a(u) + c(u) s)`; a, linear, and c, of the mean, are forgotten: users who like more, or are easier to predict,
    are not to weigh otherwise for it. Every row counts as its user's, as that of a user of whom nothing is known, and, of
    several features, as that of one of whom some are, drawn at random, each with an a and c of its own beside. So users of whom
    nothing is known have the best common weights. It is a model of varying coefficients (Hastie and Tibshirani, JRSS B 1993).

    Weights of one request take the place of the fusion's own and are multiplied as these are. A weight of 0 stays 0, and one
    below 0 stays below. The model cannot be refitted, for another model has other vectors. State: `tasks` (`task`, in the order
    of the head's outputs) and the frames of `polyrec.fusion.head`.
    """

    examples = (
        {"by": ["gender", "age"]},
        {"of": {"kind": "Multiply", "powers": {"like": 1.0, "stars": 0.5}}, "by": ["age"], "target": {"like": 1}, "tower": [4]},
    )
    learns: ClassVar[bool] = True

    of: Fusion = Add()
    """The fusion whose weights are personal, Add or Multiply: the head begins at its weights and is held to them."""
    by: tuple[str, ...] = Field(min_length=1)
    """Features of the user, or of the row, that the weights may depend on; none that depends on the item."""
    target: dict[str, float] = {}
    """Weight of each task's label in what makes a good row; empty, every task with one number a row weighs 1."""
    tower: tuple[int, ...] = ()
    """Widths of the head's layers below the multipliers."""
    penalty: float = Field(default=4.0, ge=0.0)
    """c of `c S / (2 N) sum w^2`, the penalty on what reads the S numbers of the vectors, learned from N rows: the variance of
    a multiplier's logarithm over users is expected to be 1 / c, until rows tell otherwise."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first weights and of which features are taken to be unknown."""

    @model_validator(mode="after")
    def _is_of_a_sum(self) -> Self:
        if not isinstance(self.of, SummedFusion):
            kind = type(self.of).__name__
            raise ValueError(f"Personal is of a fusion with a weight for each task, Add or Multiply, and not of {kind}")
        return self

    @property
    def summed(self) -> SummedFusion:
        """The fusion whose weights are personal."""
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
            remedy = "Name more tasks, or leave the weights common."
            raise UserError("Personal", expected="two tasks or more to weigh", found=f"{len(weights)}", remedy=remedy)
        y_N, is_known_N = worth(self.target, labels, "Personal")
        term_NT = torch.stack([weight * self.summed.term(predictions[task]) for task, weight in weights.items()], 1)[is_known_N]
        widths = {name: context.features[name].shape[1] for name in self.by}
        u_NS = torch.cat([context.features[name][is_known_N] for name in self.by], 1)
        unknown_S = torch.cat([context.unknown[name][0] for name in self.by])
        vectors = described(widths, u_NS, unknown_S)
        rows = spread(len(u_NS), 3 * u_NS.shape[1])
        users = [standardised(vectors, u_NS[rows]) * known_NS for known_NS in self._known(len(rows), [*widths.values()])]
        layers, weight_US = self._learn(term_NT[rows], users, y_N[is_known_N][rows])
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
        """Return what the weight of each task is multiplied by, (B,) or (1,)."""
        assert state, "Personal learns in `fit`"
        found = outputs(state["head"], (), weighed(state["vectors"], context.features))
        mean_B = sum(found[1:], start=found[0]) / len(found)
        own = [torch.exp(MOST * tanh((own_B - mean_B) / MOST)) for own_B in found]
        return dict(zip(state["tasks"]["task"], own, strict=True))

    def _known(self, rows: int, widths: Sequence[int]) -> list[Tensor]:
        """Return which numbers of each row count, (N, S), where all features are known, where some are and where none is."""
        generator = torch.Generator().manual_seed(self.seed)
        found = []
        for share in (1.0, 0.5, 0.0) if len(widths) > 1 else (1.0, 0.0):
            known_NF = torch.rand(rows, len(widths), generator=generator) < share
            found.append(known_NF.repeat_interleave(torch.tensor(widths), 1).double())
        return found

    def _learn(self, term_NT: Tensor, users: Sequence[Tensor], y_N: Tensor) -> tuple[Layers, Tensor]:
        """Return the layers and the first one's weights on the vectors with the least penalised cross-entropy that is found
        from multipliers of 1, over several views (N, S) of the rows' users."""
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
            steep_N1, m_NT = (torch.exp(MOST * torch.tanh(own / MOST)) for own in (mean_N1, x_NH - mean_N1))
            score_N = functional.softplus(slope_V[view]) * (steep_N1 * m_NT * term_NT).sum(1)
            logit_N = score_N + shift_V[view] + users[view] @ base_S
            return functional.binary_cross_entropy_with_logits(logit_N, y_N)

        def loss() -> Tensor:
            of_vectors = numbers * (raw[0].square().sum() + base_S.square().sum())
            of_layers = sum((weight.square().sum() for weight in (*raw[2::2], raw[-1])), start=torch.zeros(()))
            return sum(map(cross_entropy, range(len(users))), start=self.penalty * (of_vectors + of_layers) / (2 * rows))

        minimise([*raw, slope_V, shift_V, base_S], loss)
        first_US, *later = [weight.detach() for weight in raw[::2]]
        return list(zip([first_US[:, :0], *later], [bias.detach() for bias in raw[1::2]], strict=True)), first_US
