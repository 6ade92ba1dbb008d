"""Keys: where each user or item stands, found one by one without a join."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


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
