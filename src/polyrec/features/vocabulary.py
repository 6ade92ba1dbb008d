"""Vocabularies: numbers of the values seen in training; number 0 stands for every unseen, rare or null value."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor

VALUE = "value"
"""Column of a vocabulary's state: the values, the most frequent first."""
COUNT = "count"
"""Column of a vocabulary's state: number of training rows with the value."""

_WIDEST = 2**24
"""Largest span of integers that are counted and looked up by their position in an array."""


def fit_vocabulary(values: pl.Series, minimum_count: int) -> pl.DataFrame:
    """Count the distinct values and keep those with at least `minimum_count` rows.

    They are ordered by descending count, then by value, so that the result does not depend on the order of rows.
    """
    known = values.drop_nulls().alias(VALUE)
    span = _span(known)
    if span is not None and span[1] - span[0] < 2 * len(known):
        counts_V = np.bincount(known.cast(pl.Int64).to_numpy() - span[0])
        (positions,) = counts_V.nonzero()
        distinct = pl.Series(VALUE, positions + span[0]).cast(values.dtype)
        counts = pl.DataFrame({VALUE: distinct, COUNT: pl.Series(counts_V[positions]).cast(pl.UInt32)})
    else:
        counts = known.value_counts(name=COUNT)
    return counts.filter(pl.col(COUNT) >= minimum_count).sort([COUNT, VALUE], descending=[True, False])


def lookup(values: pl.Series, state: pl.DataFrame) -> pl.Series:
    """Return each value's number, 1 to the vocabulary's size, or 0 if it is not in the vocabulary.

    Values are first cast to the vocabulary's type, so that the user "42" of a request equals the user 42 of the table; a value
    that cannot be cast is unseen.
    """
    known = state[VALUE]
    values = values.cast(known.dtype, strict=False) if values.dtype != known.dtype else values
    span, value_span = _span(known), _span(values)
    if span is not None and value_span is not None and span[1] - span[0] < 2 * (len(known) + len(values)):
        return _lookup_by_position(values, known, *span)
    numbered = pl.DataFrame({VALUE: known, "number": pl.int_range(1, len(known) + 1, dtype=pl.Int32, eager=True)})
    joined = values.alias(VALUE).to_frame().join(numbered, on=VALUE, how="left", maintain_order="left")
    return joined["number"].fill_null(0)


def rows_before(state: pl.DataFrame, before: pl.DataFrame) -> Tensor:
    """Return the embedding row of an earlier vocabulary that initialises each row of a vocabulary, (V + 1,).

    It is the row of the same value; a new value starts from row 0, by which it was read before.
    """
    return torch.cat([torch.zeros(1, dtype=torch.int64), lookup(state[VALUE], before).cast(pl.Int64).to_torch()])


def _lookup_by_position(values: pl.Series, known: pl.Series, low: int, high: int) -> pl.Series:
    """Return each integer's number in the vocabulary from an array over the vocabulary's span, with zeros at both ends."""
    numbers = np.zeros(high - low + 3, dtype=np.int32)
    numbers[known.cast(pl.Int64).to_numpy() - (low - 1)] = np.arange(1, len(known) + 1, dtype=np.int32)
    result = pl.Series(VALUE, numbers.take(values.fill_null(low).cast(pl.Int64).to_numpy() - (low - 1), mode="clip"))
    return result if values.null_count() == 0 else result.zip_with(values.is_not_null(), pl.Series([0], dtype=pl.Int32))


def _span(values: pl.Series) -> tuple[int, int] | None:
    """Return the lowest and highest of integers; None if they are too far apart for an array, or are not integers."""
    if not values.dtype.is_integer():
        return None
    low, high = values.min(), values.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return (low, high) if high - low < _WIDEST and max(-low, high) < 2**62 else None
