"""`IdFeature`: base of the kinds that read one id per row."""

from __future__ import annotations

import polars as pl

from polyrec.features.feature import ColumnFeature


class IdFeature(ColumnFeature, kind=False):
    """A feature of one column of ids, codes or words."""

    def ids(self, values: pl.DataFrame) -> pl.Series:
        """Return the column with categories as strings and integers in 64 bits, so that any later id has the same type."""
        series = self.readable(values)
        if series.dtype == pl.Null:
            return series.cast(pl.String)
        return series.cast(pl.Int64) if series.dtype in _SHORT else series

    def readable(self, values: pl.DataFrame) -> pl.Series:
        """Return the column with categories as strings; raise `UserError` if it does not hold ids."""
        series = self.series(values)
        if series.dtype.is_nested() or series.dtype.is_float() or series.dtype == pl.Binary:
            remedy = "Use Numeric for numbers, MultiCategorical for lists, or cast the column to integer or string."
            raise self.wrong_type(series, "integers, strings, booleans, dates or categories", remedy)
        return series.cast(pl.String) if series.dtype in (pl.Categorical, pl.Enum) else series


_SHORT = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32)
