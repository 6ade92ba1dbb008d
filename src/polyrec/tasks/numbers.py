"""Base of tasks whose labels are finite numbers."""

from __future__ import annotations

import polars as pl

from polyrec.tasks.task import Task


class NumbersTask(Task, kind=False):
    """A task whose labels are numbers."""

    def finite(self, values: pl.Series, expected: str = "numbers", null: str = "not observed") -> pl.Series:
        """Return the values as float64; nulls remain, NaN and infinity are refused."""
        if values.dtype == pl.Null:
            values = values.cast(pl.Float64)
        if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
            raise self.wrong_labels(expected, f"the type {values.dtype}", "Cast the column, or use Multiclass for classes.")
        numbers = values.cast(pl.Float64)
        invalid = ~numbers.is_finite().fill_null(True)
        if invalid.any():
            found = f"NaN or infinity in {invalid.sum()} rows, first in row {invalid.arg_max()}"
            raise self.wrong_labels(f"finite {expected} or null", found, f"Replace them by null: null means {null}.")
        return numbers
