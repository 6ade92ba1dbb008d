"""`Feature`: an input of the model. A feature learns a state, encodes columns with it, and builds an encoder."""

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
"""Peak learning rates, each with the parameters that use it."""


@dataclass(frozen=True)
class ExportObstacle:
    """Reason why a feature cannot be exported, as three of the four parts of an error."""

    expected: str
    found: str
    remedy: str


class Encoder(nn.Module):
    """Base of the modules that map one feature's input to vectors (B, width)."""

    reads_repeated: ClassVar[bool] = False
    """Whether `forward` accepts `Repeated` values. If not, it receives distinct values, and the model repeats the vectors."""

    def __call__(self, values: Input) -> Tensor:
        return super().__call__(values)

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the embedding tables; rows that a batch does not read can be skipped in its update."""
        return []

    def rates(self) -> Rates:
        """Return the parameters with their own learning rate, which `Training` does not set."""
        return []


class Feature(Family, family="features"):
    """A named input of the model.

    `fit` learns a state from training rows, `encode` turns columns into numbers, and `build` makes the encoder. A kind
    overrides these three methods, and `grow` and `rows_before` if its encoder has an embedding table. A feature that is
    computed from other features is a `Derived`.
    """

    name: str = Field(min_length=1, pattern=r"^[^./\\]+$")
    """Name of the feature. It is also the column that the feature reads, unless `column` names another."""
    width: int = Field(default=32, gt=0)
    """Length of the feature's vector, an input of the shared network."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the row that the feature reads."""
        return (self.name,)

    def fit(self, values: pl.DataFrame) -> State:
        """Learn the state from the feature's columns over the training rows."""
        raise NotImplementedError

    def grow(self, values: pl.DataFrame, state: State) -> State:
        """Return the state for continued training on other rows.

        Scales, bin edges and post-processing stay, because weights depend on them. Vocabularies are learned from these rows.
        """
        return state

    def rows_before(self, state: State, before: State) -> Tensor | None:
        """Return the row of the earlier embedding table from which each row of the table is initialised, (rows,).

        It is the row of the same id, or the row that the id was read by before. None for a kind without rows per id.
        """
        return None

    def encode(self, values: pl.DataFrame, state: State) -> Column:
        """Encode the feature's columns of any rows as model input."""
        raise NotImplementedError

    def build(self, state: State) -> Encoder:
        """Make the module that maps the feature's input to vectors (B, width)."""
        raise NotImplementedError

    @property
    def sees_target(self) -> bool:
        """Whether a feature of the user or the row also depends on the item, so that each candidate needs a new vector."""
        return False

    def pinned(self) -> Self:
        """Return the feature with external resources pinned to their current version, such as a model's commit."""
        return self

    def identity(self) -> Mapping[str, Any] | None:
        """Return what encoded columns depend on besides the declaration, such as a model's content hash; None if nothing."""
        return None

    def export_obstacle(self, features: Mapping[str, Feature]) -> ExportObstacle | None:
        """Return why a model with this feature cannot be exported, or None if it can; `features` are all features by name."""
        return None

    def describe(self, state: State) -> dict[str, Any]:
        """Return a summary of the state for a reader, as JSON values by name."""
        return {}


class ColumnFeature(Feature, kind=False):
    """A feature that reads exactly one column."""

    column: str | None = None
    """Column to read. Unset: the column named like the feature."""

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
