"""Piecewise: a number per row, as its progress through each of several bins. Shape letters: N rows, B rows, T bins."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Dense, Input
from polyrec.features.feature import Encoder, State
from polyrec.features.numeric import NumberFeature

_ALIKE = 1e-9
"""Share of the edges' span below which two edges count as equal, because they differ only by rounding."""


class Piecewise(NumberFeature):
    """A quantity with a nonlinear effect, such as jumps or peaks: an age, a capital gain, a price.

    Piecewise linear encoding (Gorishniy et al., NeurIPS 2022): bin t from edge b_t to edge b_(t+1) has the value
    `clamp((v - b_t) / (b_(t+1) - b_t), 0, 1)`: 1 for bins below v, the covered share for the bin that contains v, and 0 for
    bins above; all bins of a null are 0. A linear layer maps (bins, 1 if null) to (B, width), which represents any function
    that is linear between edges. Trees split a column anywhere; a perceptron on one scaled number, as of a `Numeric`, learns
    such splits slowly.

    Edges lie at quantiles of the training rows. The paper drops coinciding quantiles, which leaves few bins for a column that
    is mostly 0. Here, a value with more than one bin's share of the rows takes one edge, and the other rows share the other
    edges equally. Values beyond the first and last edge are clamped to these, where the paper extrapolates. State: `edge`,
    ascending.
    """

    examples = ({"name": "age"}, {"name": "price", "column": "amount", "bins": 4, "width": 8})

    bins: int = Field(default=64, ge=1)
    """Maximum number of bins. A column with fewer distinct values has one bin between each two neighbours."""

    def fit(self, values: pl.DataFrame) -> State:
        known = self.numbers(values).drop_nulls().to_numpy()
        distinct, counts = np.unique(known, return_counts=True)
        if len(distinct) <= self.bins + 1:
            return pl.DataFrame({"edge": distinct if len(distinct) else [0.0]})
        heavy = distinct[counts * self.bins > len(known)]
        rest = known[~np.isin(known, heavy)]
        shares = np.linspace(0, 1, max(self.bins + 1 - len(heavy), 2))
        edges = np.unique(np.concatenate([heavy, np.quantile(rest, shares)]))
        apart = np.diff(edges) > _ALIKE * (edges[-1] - edges[0])
        return pl.DataFrame({"edge": edges[np.concatenate([[True], apart])]})

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        """Return two numbers per row: the value's bin plus the covered share of it, and 1 if null."""
        numbers = self.numbers(values)
        edges = state["edge"].to_numpy()
        position = np.interp(numbers.fill_null(edges[0]).to_numpy(), edges, np.arange(len(edges)))
        return Dense(torch.from_numpy(np.stack([position, numbers.is_null().to_numpy()], 1).astype(np.float32)))

    def build(self, state: State) -> Encoder:
        return PiecewiseEncoder(len(state) - 1, self.width)


class PiecewiseEncoder(Encoder):
    """Expand (position among the edges, 1 if null), (B, 2), to bins, and map them to (B, width) by a linear layer."""

    def __init__(self, bins: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(bins + 1, width)

    def bins(self, values_B2: Tensor) -> Tensor:
        """Return the paper's encoding (B, T)."""
        starts_T = torch.arange(self.linear.in_features - 1, dtype=values_B2.dtype, device=values_B2.device)
        return (values_B2[:, :1] - starts_T).clamp(0, 1)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.linear(torch.cat([self.bins(values), values[:, 1:]], 1))
