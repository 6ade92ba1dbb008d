"""`WideTable`: a table that returns columns, in memory or not; and two such tables concatenated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl


class WideTable(Protocol):
    """What fitting requires of a table. A polars frame satisfies it; so does a table that reads its columns on demand."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        ...

    @property
    def schema(self) -> pl.Schema:
        """Types of the columns."""
        ...

    @property
    def height(self) -> int:
        """Number of rows."""
        ...

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        """Return some columns, in memory."""
        ...

    def filter(self, mask: pl.Series, /) -> WideTable:
        """Return the rows at which the mask is true."""
        ...

    def clear(self) -> pl.DataFrame:
        """Return an empty frame with the same columns."""
        ...


@dataclass(frozen=True)
class Stacked:
    """Two tables, one below the other, with the columns that they share; types that differ are widened."""

    first: WideTable
    second: WideTable

    @property
    def columns(self) -> list[str]:
        return [name for name in self.first.columns if name in self.second.columns]

    @property
    def schema(self) -> pl.Schema:
        return self.clear().schema

    @property
    def height(self) -> int:
        return self.first.height + self.second.height

    def select(self, names: Sequence[str], /) -> pl.DataFrame:
        return pl.concat([self.first.select(names), self.second.select(names)], how="vertical_relaxed")

    def filter(self, mask: pl.Series, /) -> Stacked:
        above, below = mask[: self.first.height], mask[self.first.height :]
        return Stacked(self.first.filter(above), self.second.filter(below))

    def clear(self) -> pl.DataFrame:
        names = self.columns
        return pl.concat([self.first.clear().select(names), self.second.clear().select(names)], how="vertical_relaxed")


@dataclass(frozen=True)
class Lazy(Mapping[str, pl.Series]):
    """Columns that are read at each access, so that not all of them are in memory."""

    names: tuple[str, ...]
    read: Callable[[str], pl.Series]

    def __getitem__(self, name: str) -> pl.Series:
        return self.read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
