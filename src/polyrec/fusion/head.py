"""The head of a fusion that learns: a small network whose first layer reads a few numbers, a vector of many, or both.

Between layers stands tanh. What was learned are two frames, which an artifact holds:

- `head`, a row for each unit: `layer`, `bias`, `weights` (of what the layer reads, in the first one of the few numbers alone)
- `vectors`, a row for each number of the vector: `of` (what it belongs to), `mean`, `scale`, `weights` (one for each unit of
  the first layer); the number that counts is `(x - mean) / scale`, cut to [-16, 16]

A row's outputs are the same bits wherever it stands: the few are added term by term, the many exactly.

Shape letters: B rows, N rows to learn from, S numbers of the vector, U units of the first layer, H units of a layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.fusion.arithmetic import sigmoid
from polyrec.fusion.exact import rounded, rounded_weights

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weight (H, inputs) and bias (H,) of each layer."""

_SAME = 1e-6
"""Share of numbers' size below which their deviation is rounding."""

_STEPS, _ROWS, _NUMBERS = 200, 100_000, 2**23
"""Iterations of L-BFGS at most; rows that are learned from at most, and numbers of them."""


def outputs(head: pl.DataFrame, few: Sequence[Tensor], many: Sequence[Tensor] = ()) -> list[Tensor]:
    """Return the outputs of the last layer, (B,) each, from few numbers a row, (B,) each, and what `weighed` makes of many."""
    x = list(few)
    for number, layer in itertools.groupby(head.rows(), key=lambda unit: unit[0]):
        x, more = (x, many) if number == 0 else ([tanh(own_B) for own_B in x], ())
        read = itertools.zip_longest(layer, more)
        x = [_sum(bias, weights, x, own_B) for (_, bias, weights), own_B in read]
    return x


def weighed(vectors: pl.DataFrame, values: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the weighted sum (B,) of a row's vectors, (B, its width) by what they belong to, for each unit."""
    names = vectors["of"].unique(maintain_order=True)
    x_BS = torch.cat([values[name] for name in names], 1)
    weight_SU = vectors["weights"].explode().to_torch().reshape(vectors.height, -1)
    return list((standardised(vectors, x_BS) @ weight_SU).unbind(1))


def standardised(vectors: pl.DataFrame, x_BS: Tensor) -> Tensor:
    """Return the numbers that count, from single precision to double."""
    return rounded((x_BS - vectors["mean"].to_torch().float()).mul_((1 / vectors["scale"].to_torch()).float()))


def described(of: Mapping[str, int], x_NS: Tensor, mean_S: Tensor) -> pl.DataFrame:
    """Return the frame `vectors` without the weights, given the widths of what the numbers belong to, and them, in rows.

    The scale is their deviation, and 1 where they are the same but for rounding. `mean` is what counts as 0.
    """
    x_NS = x_NS.double()
    scale_S = (x_NS - x_NS.mean(0)).square().mean(0).sqrt()
    scale_S = torch.where(scale_S > _SAME * x_NS.abs().mean(0), scale_S, 1.0)
    names = [name for name, width in of.items() for _ in range(width)]
    return pl.DataFrame({"of": names, "mean": mean_S.tolist(), "scale": scale_S.tolist()})


def with_weights(vectors: pl.DataFrame, weight_US: Tensor) -> pl.DataFrame:
    """Return the frame `vectors` with the weights of each unit."""
    weights = pl.Series("weights", rounded_weights(weight_US).T.tolist(), dtype=pl.List(pl.Float64))
    return vectors.with_columns(weights)


def units(layers: Layers) -> pl.DataFrame:
    """Return the frame `head` of some layers."""
    rows = [
        (number, float(bias), weight.tolist())
        for number, (weight_HT, bias_H) in enumerate(layers)
        for weight, bias in zip(weight_HT, bias_H, strict=True)
    ]
    schema = pl.Schema({"layer": pl.Int64(), "bias": pl.Float64(), "weights": pl.List(pl.Float64())})
    return pl.DataFrame(rows, schema=schema, orient="row")


def spread(rows: int, width: int) -> Tensor:
    """Return the rows, evenly spread, that are learned from, given how many numbers each has."""
    most = min(_ROWS, max(_NUMBERS // max(width, 1), 1))
    return torch.arange(0, rows, max(rows // most, 1))


def seeded(widths: Sequence[int], seed: int) -> list[Tensor]:
    """Return each layer's weight (H, inputs), drawn at random, and bias (H,) of 0, one after the other, to be learned."""
    generator = torch.Generator().manual_seed(seed)
    raw: list[Tensor] = []
    for inputs, width in itertools.pairwise(widths):
        weight = torch.randn(width, inputs, generator=generator, dtype=torch.float64) / inputs**0.5
        raw += [weight.requires_grad_(), torch.zeros(width, dtype=torch.float64, requires_grad=True)]
    return raw


def minimise(raw: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    """Change tensors to where L-BFGS finds the least loss."""
    optimizer = torch.optim.LBFGS(raw, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)


def _sum(bias: float, weights: Sequence[float], x: Sequence[Tensor], more_B: Tensor | None) -> Tensor:
    """Return `bias + sum_i w_i x_i + more`, term by term: products of matrices give a row other last bits beside other rows."""
    terms = [weight * own_B for weight, own_B in zip(weights, x, strict=True)] + ([] if more_B is None else [more_B])
    return sum(terms[1:], start=bias + terms[0])


def tanh(x_B: Tensor) -> Tensor:
    """Return the hyperbolic tangent, the same bits wherever in a tensor an element stands."""
    return 2 * sigmoid(2 * x_B) - 1
