"""Keys of users and items: their positions, looked up without a join; and the canonical text of a key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import polars as pl

_EXACT = 2**53
"""Largest magnitude up to which floats distinguish all whole numbers."""


class Keys:
    """The positions of distinct keys. A key of another type is cast first: the user "42" of a request is the user 42."""

    def __init__(self, keys: pl.Series) -> None:
        self.kind = keys.dtype
        self._places = dict(zip(keys.to_list(), range(len(keys)), strict=True))
        self._places.pop(None, None)

    def find(self, keys: Sequence[object] | pl.Series) -> list[int | None]:
        """Return the position of each key, or None for an unknown one."""
        places = self._look_up(keys.to_list() if isinstance(keys, pl.Series) else keys)
        if None not in places:
            return places
        try:
            places_after_cast = self._look_up(pl.Series(keys).cast(self.kind, strict=False).to_list())
        except (pl.exceptions.PolarsError, TypeError):
            return places
        return [place if place is not None else cast for place, cast in zip(places, places_after_cast, strict=True)]

    def _look_up(self, keys: Sequence[object]) -> list[int | None]:
        """Return the positions of keys without a cast; None for all of them if one is not hashable, such as a list."""
        try:
            return [self._places.get(key) for key in keys]
        except TypeError:
            return [None] * len(keys)


def key_texts(keys: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return the canonical text of each key, read as a key of type `kind`: "0101", "+101" and 101.0 are the whole number 101.

    The text of a key that is not of that type stays unchanged.
    """
    texts = _texts(keys)
    try:
        return _texts(texts.cast(kind, strict=False)).fill_null(texts)
    except pl.exceptions.PolarsError:
        return texts


@lru_cache(100_000)
def key_text(key: str, kind: pl.DataType) -> str:
    """Return the canonical text of a key; see `key_texts`. Keys are cached: a series of one costs as much as a search."""
    text: str = key_texts(pl.Series([key], dtype=pl.String), kind)[0]
    return text


def _texts(keys: pl.Series) -> pl.Series:
    """Return keys as text, whole numbers without a decimal point."""
    if not keys.dtype.is_float():
        return keys.cast(pl.String)
    key = pl.col(keys.name)
    is_whole = (key == key.floor()) & (key.abs() <= _EXACT)
    integer = key.cast(pl.Int64, strict=False).cast(pl.String)
    return keys.to_frame().select(pl.when(is_whole).then(integer).otherwise(key.cast(pl.String))).to_series()


def number_groups(series: pl.Series) -> np.ndarray:
    """Return a number for each distinct value, (N,), null included."""
    return series.rank("dense").fill_null(0).to_numpy().astype(np.int64)
