"""Vector: a precomputed vector per row, such as the embedding of an image or a text."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from polyrec.core.batch import Dense
from polyrec.core.errors import UserError
from polyrec.features.feature import ColumnFeature, Encoder, State
from polyrec.features.numeric import LinearEncoder, require_single


class Vector(ColumnFeature):
    """A precomputed vector of fixed length: an image's embedding, a sensor's window, a text's vector.

    Each dimension is standardised over the training rows, then a linear layer maps (vector, 1 if null) to (B, width); a
    null vector is 0. State: `mean`, `scale`, one row per dimension.
    """

    examples = ({"name": "image"}, {"name": "image", "column": "pixels", "width": 16})

    def fit(self, values: pl.DataFrame) -> State:
        series = self.series(values)
        inner = series.dtype.inner if isinstance(series.dtype, pl.List | pl.Array) else None
        if not isinstance(inner, pl.DataType) or not inner.is_numeric():
            raise self.wrong_type(series, "lists of numbers", "Store one list of floats per row.")
        lengths = _lists(series).list.len().drop_nulls().unique().sort()
        if len(lengths) != 1:
            raise self._problem("vectors of one length", f"the lengths {lengths.head(5).to_list()}")
        known, _ = self._matrix(series, int(lengths[0]))
        known = known[series.is_not_null().to_numpy()]
        deviation = known.std(0)
        return pl.DataFrame({"mean": known.mean(0), "scale": np.where(deviation > 0, deviation, 1.0)})

    def encode(self, values: pl.DataFrame, state: State) -> Dense:
        matrix, is_null = self._matrix(self.series(values), len(state))
        scaled = (matrix - state["mean"].to_numpy()) / state["scale"].to_numpy()
        scaled[is_null] = 0.0
        require_single(scaled, self)
        return Dense(torch.from_numpy(np.column_stack([scaled, is_null]).astype(np.float32)))

    def build(self, state: State) -> Encoder:
        return LinearEncoder(len(state) + 1, self.width)

    def _matrix(self, series: pl.Series, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors (N, length), zero where null, and a mask of the null rows."""
        is_null = series.is_null()
        if is_null.all():
            return np.zeros((len(series), length)), is_null.to_numpy()
        lists = _lists(series).cast(pl.List(pl.Float64))
        wrong = (lists.list.len() != length).fill_null(False)
        if wrong.any():
            found = f"{lists.list.len()[wrong.arg_max() or 0]} numbers in row {wrong.arg_max()}"
            raise self._problem(f"vectors of {length} numbers", found)
        filled = pl.select(pl.when(is_null).then(pl.lit([0.0] * length, dtype=pl.List(pl.Float64))).otherwise(lists))[:, 0]
        matrix = filled.explode(empty_as_null=True).to_numpy().reshape(len(series), length)
        if not np.isfinite(matrix).all():
            row = int(np.isfinite(matrix).all(1).argmin())
            raise self._problem("finite numbers", f"null, NaN or infinity inside the vector of row {row}")
        return matrix.copy(), is_null.to_numpy()

    def _problem(self, expected: str, found: str) -> UserError:
        thing = f"column {self.columns[0]!r} of the feature {self.name!r}"
        return UserError(thing, expected=expected, found=found, remedy="Correct the vectors, or use null for a missing one.")


def _lists(series: pl.Series) -> pl.Series:
    return series.arr.to_list() if isinstance(series.dtype, pl.Array) else series
