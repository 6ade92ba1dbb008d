"""Vocabularies: numbers of the values seen in training; number 0 stands for unseen, rare and null values."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor

VALUE = "value"
"""Column of a vocabulary's state: the values, most frequent first."""
COUNT = "count"
"""Column of a vocabulary's state: the number of training rows with the value."""

_WIDEST = 2**24
"""Largest span of integers, highest minus lowest, that are counted and looked up by array index."""


def fit_vocabulary(values: pl.Series, minimum_count: int) -> pl.DataFrame:
    """Count the distinct values and keep those with at least `minimum_count` occurrences.

    They are sorted by descending count, then by value, independently of the order of rows.
    """
    known = values.drop_nulls().alias(VALUE)
    span = _span(known)
    if span is not None and span[1] - span[0] < 2 * len(known):
        counts_V = np.bincount(known.cast(pl.Int64).to_numpy() - span[0])
        (places,) = counts_V.nonzero()
        distinct = pl.Series(VALUE, places + span[0]).cast(values.dtype)
        counts = pl.DataFrame({VALUE: distinct, COUNT: pl.Series(counts_V[places]).cast(pl.UInt32)})
    else:
        counts = known.value_counts(name=COUNT)
    return counts.filter(pl.col(COUNT) >= minimum_count).sort([COUNT, VALUE], descending=[True, False])


def lookup(values: pl.Series, state: pl.DataFrame) -> pl.Series:
    """Return each value's number, 1 to the vocabulary's size, or 0 if it is not in the vocabulary.

    Values are cast to the vocabulary's type first, so that the user "42" of a request equals the user 42 of the table. A value
    that cannot be cast is unseen.
    """
    known = state[VALUE]
    typed = values.cast(known.dtype, strict=False) if values.dtype != known.dtype else values
    span, typed_span = _span(known), _span(typed)
    if span is not None and typed_span is not None and span[1] - span[0] < 2 * (len(known) + len(typed)):
        return _lookup_by_index(typed, known, *span)
    numbered = pl.DataFrame({VALUE: known, "number": pl.int_range(1, len(known) + 1, dtype=pl.Int32, eager=True)})
    joined = typed.alias(VALUE).to_frame().join(numbered, on=VALUE, how="left", maintain_order="left")
    return joined["number"].fill_null(0)


def rows_before(state: pl.DataFrame, before: pl.DataFrame) -> Tensor:
    """Return, for each embedding row, the row under an earlier vocabulary whose weights it takes over, (V + 1,).

    This is the value's earlier row; a new value takes over row 0, which represented it before.
    """
    return torch.cat([torch.zeros(1, dtype=torch.int64), lookup(state[VALUE], before).cast(pl.Int64).to_torch()])


def _lookup_by_index(values: pl.Series, known: pl.Series, low: int, high: int) -> pl.Series:
    """Return each integer's number from an array over the span of the vocabulary, padded with a zero at both ends."""
    numbers = np.zeros(high - low + 3, dtype=np.int32)
    numbers[known.cast(pl.Int64).to_numpy() - (low - 1)] = np.arange(1, len(known) + 1, dtype=np.int32)
    looked_up = pl.Series(VALUE, numbers.take(values.fill_null(low).cast(pl.Int64).to_numpy() - (low - 1), mode="clip"))
    return looked_up if values.null_count() == 0 else looked_up.zip_with(values.is_not_null(), pl.Series([0], dtype=pl.Int32))


def _span(values: pl.Series) -> tuple[int, int] | None:
    """Return the minimum and maximum of integers; None if there are none, or if the span is too large for an array."""
    if not values.dtype.is_integer():
        return None
    low, high = values.min(), values.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return (low, high) if high - low < _WIDEST and max(-low, high) < 2**62 else None
