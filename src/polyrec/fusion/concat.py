"""Concat: a small network over all predictions that learns what a good row is.

Shape letters: B rows, N training rows, T tasks, S numbers of hidden states, U units of the first layer, H units of a layer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Literal, Self

import polars as pl
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from polyrec.core.errors import UserError, nearest
from polyrec.fusion.context import NO_CONTEXT, Context
from polyrec.fusion.fusion import Fusion, State, double
from polyrec.fusion.head import Layers, described, minimise, outputs, seeded, spread, standardised, units, weighed, with_weights
from polyrec.fusion.target import worth

_SMALLEST = 1e-12


class Concat(Fusion):
    """`s = MLP(x, h)`: a small network over the predictions, whose output is the log-odds that a row matches `target`.

    x_t is the log-odds of a probability, and any other prediction unchanged; h are the hidden states that the shared network
    passes to the heads of the tasks in `states`. All inputs are standardised; layers are separated by tanh. This is stacking
    (Wolpert, Neural Networks 1992): the network learns from the calibrated predictions of held-out validation rows by
    cross-entropy against `y = sum_t |w_t| y_t / sum_t |w_t|` over the row's observed labels, each scaled to [0, 1] by its
    range; for a task with a negative weight, `1 - y_t` is used. Rows without such a label are ignored. `Recommender.relevant`
    is not available as a target, because tables prepared on disk contain labels only: declare a Binary task of that condition.

    With `monotone`, softplus keeps the weights on predictions and those of later layers at 0 or above, as in monotone networks
    (Sill, NeurIPS 1997). The weights on hidden states, which have no preferred direction, are unconstrained (partially monotone
    networks: Daniels and Velikova, IEEE TNN 2010). If the model is refitted on all rows, the network is kept; with `states` the
    model cannot be refitted, because another model has other hidden states. State: `inputs` (`task`, `probability`, `mean`,
    `scale`) and the frames of `polyrec.fusion.head`.
    """

    examples = (
        {},
        {"target": {"like": 1.0, "stars": 0.5}, "tower": []},
        {"states": "all"},
        {"target": {"like": 1.0, "stars": 0.5}, "states": ["like"]},
    )
    learns: ClassVar[bool] = True

    target: dict[str, float] = {}
    """Weight of each task's label in the target. If empty, every task with one number per row has the weight 1."""
    states: Literal["all"] | tuple[str, ...] = ()
    """Tasks whose hidden states are inputs in addition to the predictions; tasks with several outputs are allowed."""
    tower: tuple[int, ...] = (8,)
    """Widths of the layers below the score; if empty, the score is a weighted sum of the inputs."""
    monotone: bool = True
    """Whether the score is non-decreasing, up to rounding, in each task's prediction for fixed hidden states; for a task with a
    negative weight, it is non-increasing."""
    penalty: float = Field(default=1e-3, ge=0.0)
    """Weight of the mean squared weight added to the cross-entropy, excluding the weights on hidden states."""
    states_penalty: float = Field(default=8.0, ge=0.0)
    """c of `c S U / (2 N) sum w^2`, the penalty on the weights between the S numbers of hidden states and the U units of the
    first layer, learned from N rows: the prior variance of their total contribution to all units is 1 / c, for any number of
    numbers and units."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights."""

    def names(self) -> Sequence[str]:
        return tuple(self.target)

    def check(self, scalar_tasks: Sequence[str], all_tasks: Sequence[str]) -> None:
        super().check(scalar_tasks, all_tasks)
        for name in () if self.states == "all" else self.states:
            if name not in all_tasks:
                thing, remedy = f"hidden states of {name!r} in the fusion", nearest(name, all_tasks)
                raise UserError(thing, expected="a task", found="no such task", remedy=remedy)

    def states_of(self, tasks: Sequence[str]) -> Sequence[str]:
        return tuple(tasks) if self.states == "all" else self.states

    def weights_among(self, tasks: Sequence[str]) -> dict[str, float]:
        return {}

    def _replaced(self, weights: Mapping[str, float], tasks: Sequence[str]) -> Self:
        return self

    def fit(
        self,
        predictions: Mapping[str, Tensor],
        labels: Mapping[str, tuple[Tensor, Tensor]],
        probabilities: Collection[str],
        context: Context = NO_CONTEXT,
    ) -> State:
        y_N, is_labelled_N = worth(self.target, labels, "Concat")
        tasks = list(predictions)
        plain_NT = torch.stack([_plain(double(predictions[task]), task in probabilities) for task in tasks], 1)[is_labelled_N]
        scale_T, mean_T = plain_NT.std(0), plain_NT.mean(0)
        scale_T = torch.where(scale_T > 0, scale_T, 1.0)
        sign_T = torch.tensor([-1.0 if self.target.get(task, 1.0) < 0 else 1.0 for task in tasks], dtype=torch.float64)
        x_NT, states = (plain_NT - mean_T) / scale_T, context.states
        h_NS = torch.cat([x_NT[:, :0].float(), *(state[is_labelled_N] for state in states.values())], 1)
        vectors = described({task: state.shape[1] for task, state in states.items()}, h_NS, double(h_NS).mean(0))
        rows = spread(len(x_NT), h_NS.shape[1])
        layers, weight_US = self._learn(x_NT[rows], standardised(vectors, h_NS[rows]), y_N[is_labelled_N][rows], sign_T)
        columns = (tasks, [task in probabilities for task in tasks], mean_T.tolist(), scale_T.tolist())
        inputs = dict(zip(("task", "probability", "mean", "scale"), columns, strict=True))
        learned = {"inputs": pl.DataFrame(inputs), "head": units(layers)}
        return {**learned, "vectors": with_weights(vectors, weight_US)} if states else learned

    def score(
        self,
        predictions: Mapping[str, Tensor],
        requests: Tensor | None = None,
        state: State | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        assert state, "Concat learns in `fit`"
        x = [
            (_plain(double(predictions[task]), probability) - mean) / scale
            for task, probability, mean, scale in state["inputs"].rows()
        ]
        (score_B,) = outputs(state["head"], x, weighed(state["vectors"], context.states) if self.states else ())
        return score_B

    def _learn(self, x_NT: Tensor, h_NS: Tensor, y_N: Tensor, sign_T: Tensor) -> tuple[Layers, Tensor]:
        """Return the layers, and the first layer's weights on hidden states, with the least penalised cross-entropy found from
        seeded initial weights; those on hidden states start at 0."""
        widths = [x_NT.shape[1], *self.tower, 1]
        raw = seeded(widths, self.seed)
        weight_US = torch.zeros(widths[1], h_NS.shape[1], dtype=torch.float64, requires_grad=True)

        def layers() -> Layers:
            weights = [functional.softplus(weight) for weight in raw[::2]] if self.monotone else list(raw[::2])
            if self.monotone:
                weights[0] = weights[0] * sign_T
            return list(zip(weights, raw[1::2], strict=True))

        def loss() -> Tensor:
            (first_UT, bias_U), *later = current = layers()
            x_NH = functional.linear(x_NT, first_UT, bias_U) + h_NS @ weight_US.T
            for weight_HU, bias_H in later:
                x_NH = functional.linear(torch.tanh(x_NH), weight_HU, bias_H)
            penalty = self.penalty * sum((weight.square().mean() for weight, _ in current), start=torch.zeros(()))
            states_penalty = self.states_penalty * weight_US.numel() / (2 * len(h_NS)) * weight_US.square().sum()
            return functional.binary_cross_entropy_with_logits(x_NH.squeeze(1), y_N) + penalty + states_penalty

        minimise([*raw, *([weight_US] if h_NS.shape[1] else [])], loss)
        return [(weight.detach(), bias.detach()) for weight, bias in layers()], weight_US.detach()


def _plain(prediction_B: Tensor, is_probability: bool) -> Tensor:
    """Return the log-odds of a probability, and any other prediction unchanged."""
    if not is_probability:
        return prediction_B
    clipped_B = prediction_B.clamp(_SMALLEST, 1 - _SMALLEST)
    return torch.log(clipped_B) - torch.log1p(-clipped_B)
