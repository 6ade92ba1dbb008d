"""Conversion of true or false labels to numbers."""

from __future__ import annotations

import polars as pl

from polyrec.tasks.task import Task


def flags(task: Task, label: pl.Series, remedy: str = "Write a condition, such as 'rating >= 4'.") -> pl.Series:
    """Return 1 for true, 0 for false and null for null; raise `UserError` for other values, and with `remedy` for other types."""
    if not (label.dtype in (pl.Boolean, pl.Null) or label.dtype.is_numeric()):
        raise task.wrong_labels("true or false, or 0 and 1", f"the type {label.dtype}", remedy)
    numbers = label.cast(pl.Float64)
    invalid = numbers.filter(~numbers.is_in([0.0, 1.0])).unique().sort().head(5)
    if len(invalid):
        raise task.wrong_labels("0 and 1", f"also {invalid.to_list()}", "Write a condition, such as 'rating >= 4'.")
    return numbers
