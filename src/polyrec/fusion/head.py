"""The head of a fusion that learns: a small network whose first layer reads a few numbers, a long vector, or both.

Layers are separated by tanh. The learned state is two frames, which an artifact contains:
- `head`, one row per unit: `layer`, `bias`, `weights` (on the inputs of the layer; in the first layer on the few numbers only)
- `vectors`, one row per number of the vector: `of` (the task or feature it belongs to), `mean`, `scale`, `weights` (one for
  each unit of the first layer); the standardised number is `(x - mean) / scale`, clipped to [-16, 16]

The outputs for a row are bit for bit independent of its position: the few are summed term by term, the vector exactly.
Shape letters: B rows, N training rows, S numbers of the vector, U units of the first layer, H units of a layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.fusion.exact import rounded, rounded_weights
from polyrec.layers.sigmoid import sigmoid

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weight (H, inputs) and bias (H,) of each layer."""

_SAME = 1e-6
"""Standard deviation, relative to the mean absolute value, below which numbers are treated as constant."""

_STEPS, _ROWS, _NUMBERS = 200, 100_000, 2**23
"""Maximum number of L-BFGS iterations, of training rows, and of numbers in all training rows."""


def outputs(head: pl.DataFrame, few: Sequence[Tensor], many: Sequence[Tensor] = ()) -> list[Tensor]:
    """Return the outputs of the last layer, (B,) each, from the few numbers, (B,) each, and the unit sums of `weighed`."""
    x = list(few)
    for number, layer in itertools.groupby(head.rows(), key=lambda unit: unit[0]):
        x, more = (x, many) if number == 0 else ([tanh(x_B) for x_B in x], ())
        units_with_sums = itertools.zip_longest(layer, more)
        x = [_sum(bias, weights, x, sum_B) for (_, bias, weights), sum_B in units_with_sums]
    return x


def weighed(vectors: pl.DataFrame, values: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the weighted sum (B,) of a row's vectors, (B, width) by name, for each unit."""
    names = vectors["of"].unique(maintain_order=True)
    x_BS = torch.cat([values[name] for name in names], 1)
    weight_SU = vectors["weights"].explode().to_torch().reshape(vectors.height, -1)
    return list((standardised(vectors, x_BS) @ weight_SU).unbind(1))


def standardised(vectors: pl.DataFrame, x_BS: Tensor) -> Tensor:
    """Return the standardised numbers in double precision, computed in single precision."""
    return rounded((x_BS - vectors["mean"].to_torch().float()).mul_((1 / vectors["scale"].to_torch()).float()))


def described(of: Mapping[str, int], x_NS: Tensor, mean_S: Tensor) -> pl.DataFrame:
    """Return the frame `vectors` without weights, given the width of each named part and the training rows.

    `scale` is the standard deviation, or 1 for numbers that are constant up to rounding. `mean` is the value that maps to 0.
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
    """Return the frame `head` for these layers."""
    rows = [
        (number, float(bias), weight.tolist())
        for number, (weight_HT, bias_H) in enumerate(layers)
        for weight, bias in zip(weight_HT, bias_H, strict=True)
    ]
    schema = pl.Schema({"layer": pl.Int64(), "bias": pl.Float64(), "weights": pl.List(pl.Float64())})
    return pl.DataFrame(rows, schema=schema, orient="row")


def spread(rows: int, width: int) -> Tensor:
    """Return evenly spaced row numbers to train on, given the number of values per row."""
    most = min(_ROWS, max(_NUMBERS // max(width, 1), 1))
    return torch.arange(0, rows, max(rows // most, 1))


def seeded(widths: Sequence[int], seed: int) -> list[Tensor]:
    """Return the trainable parameters of all layers in order: a random weight (H, inputs) and a zero bias (H,) each."""
    generator = torch.Generator().manual_seed(seed)
    raw: list[Tensor] = []
    for inputs, width in itertools.pairwise(widths):
        weight = torch.randn(width, inputs, generator=generator, dtype=torch.float64) / inputs**0.5
        raw += [weight.requires_grad_(), torch.zeros(width, dtype=torch.float64, requires_grad=True)]
    return raw


def minimise(raw: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    """Minimise the loss over these tensors in place by L-BFGS."""
    optimizer = torch.optim.LBFGS(raw, max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)


def _sum(bias: float, weights: Sequence[float], x: Sequence[Tensor], more_B: Tensor | None) -> Tensor:
    """Return `bias + sum_i w_i x_i + more`, term by term: the last bits of a matrix product depend on the other rows."""
    terms = [weight * x_B for weight, x_B in zip(weights, x, strict=True)] + ([] if more_B is None else [more_B])
    return sum(terms[1:], start=bias + terms[0])


def tanh(x_B: Tensor) -> Tensor:
    """Return the hyperbolic tangent, bit for bit independent of an element's position in the tensor."""
    return 2 * sigmoid(2 * x_B) - 1
