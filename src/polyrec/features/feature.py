"""`Feature`: an input of the model. Every feature has a state, a column and an encoder."""

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
"""What a feature or task learned from the training rows: a frame, saved as Parquet. Each kind documents its columns."""


Rates = list[tuple[float, list[nn.Parameter]]]
"""Peak learning rates, each with its parameters."""


@dataclass(frozen=True)
class ExportObstacle:
    """The reason why a feature cannot be exported: three of the four parts of an error."""

    expected: str
    found: str
    remedy: str


class Encoder(nn.Module):
    """Base of the modules that map one feature's input to vectors (B, width)."""

    reads_repeated: ClassVar[bool] = False
    """Whether the encoder accepts `Repeated` input. Otherwise it receives the distinct values, and its vectors are repeated."""

    def __call__(self, values: Input) -> Tensor:
        return super().__call__(values)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the embedding tables; an update may skip the rows that the batch does not read."""
        return []

    def rates(self) -> Rates:
        """Return the parameters with their own learning rate, which `Training` does not set."""
        return []


class Feature(Family, family="features"):
    """A named input. `fit` learns its state from training rows, `encode` converts columns of a table to numbers, and
    `build` makes the module that maps these numbers to a vector."""

    name: str = Field(min_length=1, pattern=r"^[^./\\]+$")
    """Name of the feature, and of its column unless `column` is set."""
    width: int = Field(default=32, gt=0)
    """Length of the feature's vector, which is input of the shared network."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that the feature reads from its row."""
        return (self.name,)

    def fit(self, values: pl.DataFrame) -> State:
        """Learn the state from the feature's columns over the training rows."""
        raise NotImplementedError

    def grow(self, values: pl.DataFrame, state: State) -> State:
        """Return the state for continued training on other rows.

        Scales, edges and transformations of vectors stay the same, since weights depend on them; vocabularies are refitted.
        """
        return state

    def rows_before(self, state: State, before: State) -> Tensor | None:
        """Return, for each embedding row of `state`, the row of `before` whose weights it takes over, (rows,): the id's earlier
        row, or the one that it shared with unseen ids; None for a feature without rows for ids."""
        return None

    def encode(self, values: pl.DataFrame, state: State) -> Column:
        """Convert the feature's columns in any rows to model input."""
        raise NotImplementedError

    def build(self, state: State) -> Encoder:
        """Make the module that maps this feature's input to (B, width)."""
        raise NotImplementedError

    @property
    def sees_target(self) -> bool:
        """Whether a feature of the user also depends on the row's item, so that its vector differs between items."""
        return False

    def pinned(self) -> Self:
        """Return the feature with external resources fixed at their current version, such as the commit of a model."""
        return self

    def identity(self) -> Mapping[str, Any] | None:
        """Return what encoded columns depend on besides the declaration, such as the content of a model; None if nothing."""
        return None

    def export_obstacle(self, features: Mapping[str, Feature]) -> ExportObstacle | None:
        """Return the reason why a model with this feature cannot be exported, or None; `features`: all features by name."""
        return None

    def describe(self, state: State) -> dict[str, Any]:
        """Return a summary of the state in JSON values: names and numbers, or lists of these."""
        return {}


class ColumnFeature(Feature, kind=False):
    """Base of features that read exactly one column."""

    column: str | None = None
    """Name of the column; default: the name of the feature."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column or self.name,)

    def series(self, values: pl.DataFrame) -> pl.Series:
        """Return the column."""
        return values[self.columns[0]]

    def wrong_type(self, series: pl.Series, expected: str, remedy: str) -> UserError:
        """Return the error for a column whose type this kind cannot read."""
        return UserError(
            f"column {series.name!r} of the feature {self.name!r}",
            expected=expected,
            found=f"the type {series.dtype}",
            remedy=remedy,
        )
