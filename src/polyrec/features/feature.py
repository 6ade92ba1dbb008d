"""`Feature`: what is known of a row before its labels. State, column, encoder: the three stations of every feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import polars as pl
from pydantic import Field
from torch import Tensor, nn

from polyrec.core.batch import Column, Input
from polyrec.core.errors import UserError
from polyrec.core.spec import Family

State = pl.DataFrame
"""What a feature or task learned from the training rows: a frame whose columns each kind documents, saved as Parquet."""


Rates = list[tuple[float, list[nn.Parameter]]]
"""Highest step sizes, each with the weights that take it."""


@dataclass(frozen=True)
class ExportObstacle:
    """Why a feature cannot be exported: three of the four parts of an error."""

    expected: str
    found: str
    remedy: str


class Encoder(nn.Module):
    """Base of the modules that turn one feature's input into vectors (B, width)."""

    reads_repeated: ClassVar[bool] = False
    """Whether it reads values that rows share, `Repeated`, itself; else it is given each once, and its vectors are repeated."""

    def __call__(self, values: Input) -> Tensor:
        return super().__call__(values)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the large tables, whose rows that a batch does not read can be left out of its update."""
        return []

    def rates(self) -> Rates:
        """Return the weights whose steps are of a size of their own, which no setting of the training names."""
        return []


class Feature(Family, family="features"):
    """A named input. `fit` learns its state from training rows, `encode` turns a table's column into numbers, `build`
    makes the module that turns those numbers into a vector."""

    name: str = Field(min_length=1, pattern=r"^[^./\\]+$")
    """Name of the feature, and the column that it reads unless `column` names another."""
    width: int = Field(default=32, gt=0)
    """Length of the vector that the feature contributes to the shared network."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the feature reads from the row itself."""
        return (self.name,)

    def fit(self, values: pl.DataFrame) -> State:
        """Learn the state from the feature's columns over the training rows."""
        raise NotImplementedError

    def grow(self, values: pl.DataFrame, state: State) -> State:
        """Return what the state becomes where training goes on with other rows.

        Scales, edges and what is done to vectors stay, for weights were learned by them; vocabularies are those of the rows.
        """
        return state

    def rows_before(self, state: State, before: State) -> Tensor | None:
        """Return, for each row of the table that ids have by a state, the row of the table by a state before that it goes on
        from, (rows,): the id's own, or the one that it was read by; None where no rows are given to ids."""
        return None

    def encode(self, values: pl.DataFrame, state: State) -> Column:
        """Turn the feature's columns over any rows into model input."""
        raise NotImplementedError

    def build(self, state: State) -> Encoder:
        """Make the module that maps this feature's input to (B, width)."""
        raise NotImplementedError

    @property
    def sees_target(self) -> bool:
        """Whether a feature of the user depends on the row's item too, so that its vector differs from item to item."""
        return False

    def pinned(self) -> Self:
        """Return the feature with all that it reads from outside fixed at its present version, such as a commit of a model."""
        return self

    def identity(self) -> Mapping[str, Any] | None:
        """Return what encoded columns depend on besides the declaration, such as the content of a model; None if nothing."""
        return None

    def export_obstacle(self, features: Mapping[str, Feature]) -> ExportObstacle | None:
        """Return why a model with this feature cannot be exported, if it cannot; `features` are all features by name."""
        return None

    def describe(self, state: State) -> dict[str, Any]:
        """Return what the state says to a reader: names and numbers, or lists of such, that JSON can hold."""
        return {}


class ColumnFeature(Feature, kind=False):
    """A feature that reads exactly one column."""

    column: str | None = None
    """Column to read; unset, the column named like the feature."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column or self.name,)

    def series(self, values: pl.DataFrame) -> pl.Series:
        """Return the one column."""
        return values[self.columns[0]]

    def wrong_type(self, series: pl.Series, expected: str, remedy: str) -> UserError:
        """Return the error for a column of a type that this kind cannot read."""
        return UserError(
            f"column {series.name!r} of the feature {self.name!r}",
            expected=expected,
            found=f"the type {series.dtype}",
            remedy=remedy,
        )
