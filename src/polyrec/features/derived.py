"""`Derived`: a feature that is computed from other features of the recommender. A new kind of it is one file.

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
    """The declaration around a derived feature, as its `check` reads it."""

    features: Features
    sides: Mapping[str, str]
    """`user`, `item` or `features`, by feature."""
    has_user_key: bool
    """Whether the user's side has a key."""
    views: Mapping[str, Sequence[frozenset[str]]]
    """By task, the features that each of its views sees."""
    inputs: Mapping[str, Sequence[str]]
    """By task, the features that `inputs` lists by name; empty for `all`, `user` and `item`."""

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
        """Return the rows that meet a SQL condition; `thing` names the condition in errors."""
        ...

    def matches(self, condition: str | None, thing: str) -> Tensor:
        """Return the positions, in order, of the rows that meet a SQL condition."""
        ...

    def positions(self, rows: pl.DataFrame, length: int) -> tuple[Tensor, Tensor]:
        """Return for each of `rows` where the earlier rows of its user end in the log, and how many of them count."""
        ...


class Reader(Protocol):
    """Access to the other features while a batch is encoded."""

    def ids(self, name: str) -> Tensor:
        """Return the rows' ids of a Categorical feature, (B,), after its id dropout, which is drawn once a batch."""
        ...

    def input(self, name: str) -> Input:
        """Return the rows' input of a feature."""
        ...

    def dropped(self, name: str, ids: Tensor) -> Tensor:
        """Return ids of a Categorical feature after its id dropout, drawn anew."""
        ...

    def lookup(self, name: str, ids: Tensor) -> Tensor:
        """Return the table rows (M, K) of ids of a Categorical feature."""
        ...

    def table(self, name: str) -> Tensor:
        """Return the table (U, K) of a Categorical feature."""
        ...

    def elements(self, name: str, values: Input) -> Tensor:
        """Return the vectors (M, K) of any values that are encoded as a feature's values are."""
        ...


class DerivedEncoder(nn.Module):
    """Base of the modules that compute a derived feature's vectors, with weights of their own where they need any."""

    def begin(self) -> None:
        """Draw what all rows of a batch share; called once before a batch is encoded."""

    def __call__(self, reader: Reader) -> Tensor:
        return super().__call__(reader)

    def forward(self, reader: Reader) -> Tensor:
        """Return the vectors (B, width) of the rows of a batch."""
        raise NotImplementedError

    def elements(self, reader: Reader, values: Input) -> Tensor:
        """Return the vectors (M, width) of any values of this feature, for other features that read it."""
        raise NotImplementedError

    def input(self, batch: Batch) -> Input:
        """Return the rows' input of this feature, for other features that read it."""
        raise NotImplementedError


class Derived(Feature, kind=False):
    """A feature that reads other features, through their tables and encoders, and no column of its own row.

    A kind names the features it reads, checks them, makes a column where it has input of its own, and builds an encoder, which
    reads the others through a `Reader`. State: empty unless the kind says otherwise.
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
        """Names of the features whose vectors this one stands for: they are not passed to the network themselves."""
        return ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the Categorical features whose `Reader.ids` the encoder reads."""
        return ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the Categorical features whose whole tables the encoder reads; these are updated densely."""
        return ()

    @property
    def reads_log(self) -> bool:
        """Whether `column` reads the log of users' earlier rows."""
        return False

    @property
    def conditions(self) -> Mapping[str, str]:
        """SQL conditions on the log, by what errors call them."""
        return {}

    @property
    def longest(self) -> int | None:
        """Largest number of elements a row where the input is a sequence."""
        return None

    def check(self, scope: Scope) -> None:
        """Raise `ValueError` where the features that this one reads are missing or unsuitable."""
        require_known(self, scope)

    def fit_derived(self, encoded: Callable[[str], Column]) -> State | None:
        """Learn the state from the encoded training columns of other features, by name; None for a kind without state."""
        return None

    def log_columns(self, features: Features) -> tuple[str, ...]:
        """Return the columns of the log that `column` reads besides those of `conditions`."""
        return ()

    def column(
        self, features: Features, states: Mapping[str, State], log: Past | None, rows: pl.DataFrame | None
    ) -> Column | None:
        """Return the input of some rows (their user and time); None for a kind that reads nothing but other features' input."""
        return None

    def extended(
        self, column: Column, row: int, events: Past, features: Features, elements: Callable[[Feature, Tensor], Column]
    ) -> Column | None:
        """Return the one-row input of a user, row `row` of `column`, extended by later events; None where it stays the same.

        `elements` returns the column of a feature for the events at some positions.
        """
        return None

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> DerivedEncoder:
        """Make the encoder, given the widths of all features."""
        raise NotImplementedError


def require_known(feature: Derived, scope: Scope) -> None:
    """Refuse a derived feature that reads a feature which is not declared, or another derived one that cannot be read."""
    for name in feature.reads:
        if name not in scope.features or name == feature.name:
            raise ValueError(f"{kind_and_name(feature)} reads {name!r}, which is no other feature of this recommender")


def kind_and_name(feature: Feature) -> str:
    """Return how errors call a derived feature."""
    return f"{type(feature).__name__} {feature.name!r}"
