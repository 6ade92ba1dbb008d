"""Vocabularies: values seen in training, by number; number 0 stands for every value unseen, rare or null."""

from __future__ import annotations

import polars as pl

VALUE = "value"
"""Column of a vocabulary's state: the values, the most frequent first."""
COUNT = "count"
"""Column of a vocabulary's state: how many training rows hold the value."""


def fit_vocabulary(values: pl.Series, minimum_count: int) -> pl.DataFrame:
    """Count the distinct values and keep those seen often enough.

    Order is by falling count, then by value, so that it never depends on the order of rows.
    """
    counts = values.drop_nulls().alias(VALUE).value_counts(name=COUNT)
    return counts.filter(pl.col(COUNT) >= minimum_count).sort([COUNT, VALUE], descending=[True, False])


def lookup(values: pl.Series, state: pl.DataFrame) -> pl.Series:
    """Return each value's number, 1 to the vocabulary's size, or 0 where it is not in the vocabulary.

    Values are cast to the vocabulary's type first, so that the user "42" of a request is the user 42 of the table; a value
    that does not survive the cast is unseen.
    """
    known = state[VALUE]
    asked = values.cast(known.dtype, strict=False) if values.dtype != known.dtype else values
    numbered = pl.DataFrame({VALUE: known, "number": pl.int_range(1, len(known) + 1, dtype=pl.Int32, eager=True)})
    joined = asked.alias(VALUE).to_frame().join(numbered, on=VALUE, how="left", maintain_order="left")
    return joined["number"].fill_null(0)
