"""Vocabularies: values seen in training, by number; number 0 stands for every value unseen, rare or null."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor

VALUE = "value"
"""Column of a vocabulary's state: the values, the most frequent first."""
COUNT = "count"
"""Column of a vocabulary's state: how many training rows hold the value."""

_WIDEST = 2**24
"""Most numbers, from the lowest to the highest, that are counted and looked up by their place in an array."""


def fit_vocabulary(values: pl.Series, minimum_count: int) -> pl.DataFrame:
    """Count the distinct values and keep those seen often enough.

    Order is by falling count, then by value, so that it never depends on the order of rows.
    """
    known = values.drop_nulls().alias(VALUE)
    span = _span(known)
    if span is not None and span[1] - span[0] < 2 * len(known):
        counts_V = np.bincount(known.cast(pl.Int64).to_numpy() - span[0])
        (places,) = counts_V.nonzero()
        found = pl.Series(VALUE, places + span[0]).cast(values.dtype)
        counts = pl.DataFrame({VALUE: found, COUNT: pl.Series(counts_V[places]).cast(pl.UInt32)})
    else:
        counts = known.value_counts(name=COUNT)
    return counts.filter(pl.col(COUNT) >= minimum_count).sort([COUNT, VALUE], descending=[True, False])


def lookup(values: pl.Series, state: pl.DataFrame) -> pl.Series:
    """Return each value's number, 1 to the vocabulary's size, or 0 where it is not in the vocabulary.

    Values are cast to the vocabulary's type first, so that the user "42" of a request is the user 42 of the table; a value
    that does not survive the cast is unseen.
    """
    known = state[VALUE]
    asked = values.cast(known.dtype, strict=False) if values.dtype != known.dtype else values
    span, asked_span = _span(known), _span(asked)
    if span is not None and asked_span is not None and span[1] - span[0] < 2 * (len(known) + len(asked)):
        return _lookup_by_place(asked, known, *span)
    numbered = pl.DataFrame({VALUE: known, "number": pl.int_range(1, len(known) + 1, dtype=pl.Int32, eager=True)})
    joined = asked.alias(VALUE).to_frame().join(numbered, on=VALUE, how="left", maintain_order="left")
    return joined["number"].fill_null(0)


def rows_before(state: pl.DataFrame, before: pl.DataFrame) -> Tensor:
    """Return the row of the table of an earlier vocabulary that each row of a vocabulary's goes on from, (V + 1,).

    It is the value's own; a value that is new goes on from row 0, by which it was read before.
    """
    return torch.cat([torch.zeros(1, dtype=torch.int64), lookup(state[VALUE], before).cast(pl.Int64).to_torch()])


def _lookup_by_place(asked: pl.Series, known: pl.Series, low: int, high: int) -> pl.Series:
    """Return each whole number's place in the vocabulary from an array over the vocabulary's span, with zeros at both ends."""
    numbers = np.zeros(high - low + 3, dtype=np.int32)
    numbers[known.cast(pl.Int64).to_numpy() - (low - 1)] = np.arange(1, len(known) + 1, dtype=np.int32)
    found = pl.Series(VALUE, numbers.take(asked.fill_null(low).cast(pl.Int64).to_numpy() - (low - 1), mode="clip"))
    return found if asked.null_count() == 0 else found.zip_with(asked.is_not_null(), pl.Series([0], dtype=pl.Int32))


def _span(values: pl.Series) -> tuple[int, int] | None:
    """Return the lowest and highest of whole numbers; None where they lie too far apart for an array, or are none."""
    if not values.dtype.is_integer():
        return None
    low, high = values.min(), values.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    return (low, high) if high - low < _WIDEST and max(-low, high) < 2**62 else None
