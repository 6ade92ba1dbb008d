"""Piecewise: a number a row, as how far it has come through each of a row of bins. Shape letters: N rows, B rows, T bins."""

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
"""Share of the edges' span below which two of them differ by rounding alone."""


class Piecewise(NumberFeature):
    """A quantity whose effect bends, jumps or has peaks: an age, a capital gain, a price.

    Piecewise linear encoding (Gorishniy et al., NeurIPS 2022): bin t from edge b_t to edge b_(t+1) gives
    `clamp((v - b_t) / (b_(t+1) - b_t), 0, 1)`, so that all bins below v are 1, its own is the share of the way through, and
    those above are 0; a null's are all 0. A linear layer maps (bins, 1 if null) to (B, width): any function that is linear
    between edges. Trees cut a column wherever they like; a perceptron on one scaled number, as `Numeric` gives, learns such
    cuts slowly.

    Edges lie at quantiles of the training rows. Unlike the paper, which drops quantiles that coincide and so leaves a column
    that is mostly 0 few bins, a value that more than one bin's share of the rows have takes one edge, and the other rows share
    the other edges equally; and values beyond the first and last edge are read as these, where the paper extrapolates. State:
    `edge`, ascending.
    """

    examples = ({"name": "age"}, {"name": "price", "column": "amount", "bins": 4, "width": 8})

    bins: int = Field(default=64, ge=1)
    """Number of bins, at most: a column with fewer distinct values has one between each two of them."""

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
        """Return two numbers a row: the bin that the value is in plus the share of the way through it, and 1 if null."""
        numbers = self.numbers(values)
        edges = state["edge"].to_numpy()
        place = np.interp(numbers.fill_null(edges[0]).to_numpy(), edges, np.arange(len(edges)))
        return Dense(torch.from_numpy(np.stack([place, numbers.is_null().to_numpy()], 1).astype(np.float32)))

    def build(self, state: State) -> Encoder:
        return PiecewiseEncoder(len(state) - 1, self.width)


class PiecewiseEncoder(Encoder):
    """The bins of (place among the edges, 1 if null), (B, 2), and a linear layer on them. Maps to (B, width)."""

    def __init__(self, bins: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(bins + 1, width)

    def bins(self, values_B2: Tensor) -> Tensor:
        """Return the encoding of the paper, (B, T)."""
        starts_T = torch.arange(self.linear.in_features - 1, dtype=values_B2.dtype, device=values_B2.device)
        return (values_B2[:, :1] - starts_T).clamp(0, 1)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.linear(torch.cat([self.bins(values), values[:, 1:]], 1))
