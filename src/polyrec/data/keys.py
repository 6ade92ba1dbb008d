"""Keys: where each user or item stands, found one by one without a join; and the one text of a key, however it is written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import polars as pl

_EXACT = 2**53
"""Up to here floats tell whole numbers apart."""


class Keys:
    """The places of distinct keys. A key of another type is cast first: the user "42" of a request is the user 42."""

    def __init__(self, keys: pl.Series) -> None:
        self.kind = keys.dtype
        self._places = dict(zip(keys.to_list(), range(len(keys)), strict=True))
        self._places.pop(None, None)

    def find(self, keys: Sequence[object] | pl.Series) -> list[int | None]:
        """Return the place of each key, None where there is none."""
        found = self._found(keys.to_list() if isinstance(keys, pl.Series) else keys)
        if None not in found:
            return found
        try:
            cast = self._found(pl.Series(keys).cast(self.kind, strict=False).to_list())
        except (pl.exceptions.PolarsError, TypeError):
            return found
        return [own if own is not None else other for own, other in zip(found, cast, strict=True)]

    def _found(self, keys: Sequence[object]) -> list[int | None]:
        """Return the places of keys of the very type; none at all where one is a list or the like."""
        try:
            return [self._places.get(key) for key in keys]
        except TypeError:
            return [None] * len(keys)


def key_texts(keys: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return the one text of each key, read as a key of a kind: "0101" and "+101" are the whole number 101, and so is 101.0.

    A key that is none of that kind stays as it is.
    """
    told = _texts(keys)
    try:
        return _texts(told.cast(kind, strict=False)).fill_null(told)
    except pl.exceptions.PolarsError:
        return told


@lru_cache(100_000)
def key_text(key: str, kind: pl.DataType) -> str:
    """Return the one text of a key; see `key_texts`. The last keys are remembered: a series of one costs what a search does."""
    text: str = key_texts(pl.Series([key], dtype=pl.String), kind)[0]
    return text


def _texts(keys: pl.Series) -> pl.Series:
    """Return keys as text, whole numbers without a point."""
    if not keys.dtype.is_float():
        return keys.cast(pl.String)
    key = pl.col(keys.name)
    is_whole = (key == key.floor()) & (key.abs() <= _EXACT)
    whole = key.cast(pl.Int64, strict=False).cast(pl.String)
    return keys.to_frame().select(pl.when(is_whole).then(whole).otherwise(key.cast(pl.String))).to_series()


def number_groups(series: pl.Series) -> np.ndarray:
    """Return a number for each distinct value, null included."""
    return series.rank("dense").fill_null(0).to_numpy().astype(np.int64)
