"""`Derived`: a feature computed from other features of the recommender.

Shape letters: B rows, M elements, U rows of a table, K width of a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl
from torch import Tensor, nn

from polyrec.core.batch import Batch, Column, Input
from polyrec.features.feature import Feature, State

Features = Mapping[str, Feature]
"""The features of a recommender by name."""


@dataclass(frozen=True)
class Scope:
    """The parts of a declaration that `check` of a derived feature reads."""

    features: Features
    sides: Mapping[str, str]
    """Side by feature: `user`, `item` or `features`."""
    has_user_key: bool
    """Whether the user's side has a key."""
    views: Mapping[str, Sequence[frozenset[str]]]
    """Features of each view by task."""
    inputs: Mapping[str, Sequence[str]]
    """Features listed by name in `inputs`, by task; empty for `all`, `user` and `item`."""

    def beside(self, feature: Feature) -> list[str]:
        """Return the names of the other features on the same side."""
        side = self.sides[feature.name]
        return [name for name, other in self.sides.items() if other == side and name != feature.name]


class Past(Protocol):
    """The log of interactions, or a part of it."""

    @property
    def frame(self) -> pl.DataFrame:
        """The rows, sorted by user and time."""
        ...

    def where(self, condition: str | None, thing: str) -> Past:
        """Return the rows that satisfy a SQL condition; `thing` names the condition in errors."""
        ...

    def matches(self, condition: str | None, thing: str) -> Tensor:
        """Return the ascending positions of the rows that satisfy a SQL condition."""
        ...

    def positions(self, rows: pl.DataFrame, length: int) -> tuple[Tensor, Tensor]:
        """Return for each of `rows` the end of its user's earlier rows in the log and their number, at most `length`."""
        ...


class Reader(Protocol):
    """Access to other features during the encoding of a batch."""

    def ids(self, name: str) -> Tensor:
        """Return the rows' ids of a Categorical feature, (B,), after id dropout, which is drawn once per batch."""
        ...

    def input(self, name: str) -> Input:
        """Return the rows' input of a feature."""
        ...

    def dropped(self, name: str, ids: Tensor) -> Tensor:
        """Return ids of a Categorical feature after a new draw of id dropout."""
        ...

    def lookup(self, name: str, ids: Tensor) -> Tensor:
        """Return the embedding rows (M, K) of ids of a Categorical feature."""
        ...

    def table(self, name: str) -> Tensor:
        """Return the embedding table (U, K) of a Categorical feature."""
        ...

    def elements(self, name: str, values: Input) -> Tensor:
        """Return the vectors (M, K) of values, encoded like values of the feature `name`."""
        ...


class DerivedEncoder(nn.Module):
    """Base of the modules that compute a derived feature's vectors."""

    def begin(self) -> None:
        """Draw the random numbers shared by all rows of a batch; called once before the batch is encoded."""

    def __call__(self, reader: Reader) -> Tensor:
        return super().__call__(reader)

    def forward(self, reader: Reader) -> Tensor:
        """Return the vectors (B, width) of the rows of a batch."""
        raise NotImplementedError

    def elements(self, reader: Reader, values: Input) -> Tensor:
        """Return the vectors (M, width) of values of this feature, for other features that read it."""
        raise NotImplementedError

    def input(self, batch: Batch) -> Input:
        """Return the rows' input of this feature, for other features that read it."""
        raise NotImplementedError


class Derived(Feature, kind=False):
    """A feature that reads the tables and encoders of other features, and no column of its row.

    A kind names the features that it reads, checks them, makes a column if it has further input, and builds an encoder, which
    reads the other features through a `Reader`. State: empty unless the kind documents one.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the features that this one reads."""
        raise NotImplementedError

    @property
    def replaces(self) -> tuple[str, ...]:
        """Names of the features that this one replaces: their vectors are not input of the network."""
        return ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the Categorical features whose `Reader.ids` the encoder reads."""
        return ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the Categorical features whose complete tables the encoder reads; their updates are dense."""
        return ()

    @property
    def reads_log(self) -> bool:
        """Whether `column` reads the log of users' earlier rows."""
        return False

    @property
    def conditions(self) -> Mapping[str, str]:
        """SQL conditions on the log, by their names in errors."""
        return {}

    @property
    def longest(self) -> int | None:
        """Maximum length of the input if it is a sequence, else None."""
        return None

    def check(self, scope: Scope) -> None:
        """Raise `ValueError` if a feature that this one reads is missing or unsuitable."""
        require_known(self, scope)

    def fit_derived(self, encoded: Callable[[str], Column]) -> State | None:
        """Learn the state from the encoded training columns of other features, by name; None for a kind without state."""
        return None

    def log_columns(self, features: Features) -> tuple[str, ...]:
        """Return the columns of the log that `column` reads, except those of `conditions`."""
        return ()

    def column(
        self, features: Features, states: Mapping[str, State], log: Past | None, rows: pl.DataFrame | None
    ) -> Column | None:
        """Return the input of `rows` (user and time); None for a kind that reads only the input of other features."""
        return None

    def extended(
        self, column: Column, row: int, events: Past, features: Features, elements: Callable[[Feature, Tensor], Column]
    ) -> Column | None:
        """Return the input of one user, row `row` of `column`, extended by later events; None if it does not change.

        `elements` returns the column of a feature for the events at given positions.
        """
        return None

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> DerivedEncoder:
        """Make the encoder; `widths`: widths of all features."""
        raise NotImplementedError


def require_known(feature: Derived, scope: Scope) -> None:
    """Raise `ValueError` if a derived feature reads itself or a feature that is not declared."""
    for name in feature.reads:
        if name not in scope.features or name == feature.name:
            raise ValueError(f"{kind_and_name(feature)} reads {name!r}, which is not another feature of this recommender")


def kind_and_name(feature: Feature) -> str:
    """Return the name of a derived feature in errors."""
    return f"{type(feature).__name__} {feature.name!r}"
