"""A whole frame as one value of another."""

from __future__ import annotations

import polars as pl


def pack(frame: pl.DataFrame) -> pl.Series:
    """Return a series of one value, the list of the frame's rows; null for a frame without columns."""
    if frame.width == 0:
        return pl.Series([None], dtype=pl.Null)
    return pl.Series([frame.to_struct()])


def unpack(packed: pl.Series) -> pl.DataFrame:
    """Return the frame that was packed."""
    (rows,) = packed
    return pl.DataFrame() if rows is None else rows.struct.unnest()
