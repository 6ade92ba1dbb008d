"""Numeric: a scaled number per row, with an indicator of null. Shape letters: N rows, B rows of a batch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from polyrec.core.batch import Dense, Input
from polyrec.core.errors import UserError
from polyrec.features.feature import ColumnFeature, Encoder, State

_GRID = 1001


class NumberFeature(ColumnFeature, kind=False):
    """A feature that reads a column of finite numbers."""

    def numbers(self, values: pl.DataFrame) -> pl.Series:
        """Return the column as floats; raise `UserError` for NaN and infinity."""
        series = self.series(values)
        if series.dtype == pl.Null:
            series = series.cast(pl.Float64)
        if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
            raise self.wrong_type(series, "numbers", "Cast the column, or use Categorical for words and codes.")
        numbers = series.cast(pl.Float64)
        bad = numbers.is_nan().fill_null(False) | numbers.is_infinite().fill_null(False)
        if bad.any():
            raise UserError(
                f"column {series.name!r} of the feature {self.name!r}",
                expected="finite numbers or null",
                found=f"NaN or infinity in {bad.sum()} rows, first in row {bad.arg_max()}",
                remedy="Replace them by null for 'not known' (`fill_nan(None)`) or by a number.",
            )
        return numbers


def require_single(scaled: np.ndarray, feature: ColumnFeature) -> None:
    """Raise `UserError` if scaled values (N, …) exceed float32, the precision of the model."""
    too_large = np.abs(scaled) > np.finfo(np.float32).max
    if too_large.any():
        raise UserError(
            f"column {feature.columns[0]!r} of the feature {feature.name!r}",
            expected="values that fit single precision after scaling",
            found=f"{np.abs(scaled).max():.3g} in row {int(np.argwhere(too_large)[0][0])}",
            remedy="Correct the values, or use null for 'not known'.",
        )


class Numeric(NumberFeature):
    """A quantity: age, price, seconds since, a count.

    The value is scaled, then a linear layer maps (scaled value, 1 if null) to (B, width); a null's scaled value is 0.

    - `standardise`: (v - mean) / deviation over the training rows.
    - `quantile`: 2 r - 1, with r the value's rank among the training rows, 0 to 1, interpolated between 1,001 quantiles: robust
      to outliers and unchanged by any monotone change of unit.
    - `log`: sign(v) log(1 + |v|), then standardised: for long tails.

    NaN and infinity are refused, because they are neither numbers nor nulls. State: `mean`, `scale`, or `quantile`.
    """

    examples = ({"name": "age"}, {"name": "price", "transform": "log"}, {"name": "stock", "transform": "quantile", "width": 4})

    transform: Literal["standardise", "quantile", "log"] = "standardise"
    """Scaling of the values."""

    def fit(self, values: pl.DataFrame) -> State:
        known = self.numbers(values).drop_nulls().to_numpy()
        if self.transform == "quantile":
            return pl.DataFrame({"quantile": np.quantile(known, np.linspace(0, 1, _GRID)) if len(known) else [0.0]})
        if self.transform == "log":
            known = _log(known)
        mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
        return pl.DataFrame({"mean": [mean], "scale": [deviation if deviation > 0 else 1.0]})

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        numbers = self.numbers(values)
        is_null = numbers.is_null().to_numpy()
        known = numbers.fill_null(0.0).to_numpy()
        if self.transform == "quantile":
            grid = state["quantile"].to_numpy()
            low = np.interp(known, grid, np.linspace(0, 1, len(grid)))
            high = 1 - np.interp(-known, -grid[::-1], np.linspace(0, 1, len(grid)))
            scaled = low + high - 1
        else:
            scaled = (_log(known) if self.transform == "log" else known) - state["mean"][0]
            scaled = scaled / state["scale"][0]
        scaled[is_null] = 0.0
        require_single(scaled, self)
        inputs = np.empty((len(scaled), 2), dtype=np.float32)
        inputs[:, 0], inputs[:, 1] = scaled, is_null
        return Dense(torch.from_numpy(inputs))

    def build(self, state: State) -> Encoder:
        return LinearEncoder(2, self.width)


class LinearEncoder(Encoder):
    """A linear layer. Maps (B, inputs) to (B, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, values: Input) -> Tensor:
        assert isinstance(values, Tensor)
        return self.linear(values)


def _log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))
