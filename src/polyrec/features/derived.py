"""`Derived`: a feature that is computed from other features, or from the user's earlier rows. A new kind is one file.

Shape letters: B rows, M elements, U rows of a table, K width of a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl
from torch import Tensor, nn

from polyrec.core.batch import Batch, Column, Input
from polyrec.core.errors import nearest
from polyrec.features.feature import Feature, State

Features = Mapping[str, Feature]
"""The features of a recommender by name."""


@dataclass(frozen=True)
class Scope:
    """The parts of the declaration that `Derived.check` may inspect."""

    features: Features
    sides: Mapping[str, str]
    """`user`, `item` or `features`, by feature."""
    has_user_key: bool
    """Whether the user side has a key."""
    views: Mapping[str, Sequence[frozenset[str]]]
    """By task, the features visible in each of its views."""
    inputs: Mapping[str, Sequence[str]]
    """By task, the features that `inputs` lists by name; empty for `all`, `user` and `item`."""

    def beside(self, feature: Feature) -> list[str]:
        """Return the names of the other features on the same side."""
        side = self.sides[feature.name]
        return [name for name, other_side in self.sides.items() if other_side == side and name != feature.name]


class Past(Protocol):
    """The interaction log, or a part of it."""

    @property
    def frame(self) -> pl.DataFrame:
        """The rows, sorted by user and time."""
        ...

    def where(self, condition: str | None, thing: str) -> Past:
        """Return the rows that satisfy a SQL condition; `thing` names the condition in errors."""
        ...

    def matches(self, condition: str | None, thing: str) -> Tensor:
        """Return the positions, in order, of the rows that satisfy a SQL condition."""
        ...

    def positions(self, rows: pl.DataFrame, length: int) -> tuple[Tensor, Tensor]:
        """Return two tensors (N,) for N `rows`, each with a user and a time.

        The first holds the position in the log at which the user's earlier rows end (exclusive), the second the number of
        these rows, at most `length`. Rows of the same instant are not earlier.
        """
        ...


class Reader(Protocol):
    """Access to the other features while a batch is encoded."""

    def vectors(self, name: str) -> Tensor:
        """Return the vectors (B, K) of the batch rows for any feature.

        A Categorical listed in `Derived.ids` is read after the id dropout that the batch shares, so that a dropped id does not
        leak through a feature that reads it.
        """
        ...

    def ids(self, name: str) -> Tensor:
        """Return the ids (B,) of the batch rows for a Categorical listed in `Derived.ids`, after the batch's id dropout."""
        ...

    def input(self, name: str) -> Input:
        """Return the input of the batch rows for a feature: a slice of the column that it was encoded to."""
        ...

    def dropped(self, name: str, ids: Tensor) -> Tensor:
        """Apply a new draw of a Categorical's id dropout to any ids, such as those of earlier rows."""
        ...

    def lookup(self, name: str, ids: Tensor) -> Tensor:
        """Return the embedding rows (M, K) of ids of a Categorical."""
        ...

    def table(self, name: str) -> Tensor:
        """Return the complete embedding table (U, K) of a Categorical listed in `Derived.tables`."""
        ...

    def elements(self, name: str, values: Input) -> Tensor:
        """Return the vectors (M, K) of any values encoded like a feature's values, such as the items of earlier rows."""
        ...


class DerivedEncoder(nn.Module):
    """Base of the modules that compute a derived feature's vectors. Their parameters are updated densely."""

    def begin(self) -> None:
        """Draw the random numbers that all rows of a batch share. Called once for each batch, before `forward`."""

    def __call__(self, reader: Reader) -> Tensor:
        return super().__call__(reader)

    def forward(self, reader: Reader) -> Tensor:
        """Return the vectors (B, width) of the batch rows. A row's vector must not depend on other rows."""
        raise NotImplementedError

    def elements(self, reader: Reader, values: Input) -> Tensor:
        """Return the vectors (M, width) of any values; needed only if a history may read this feature (see `replaces`)."""
        raise NotImplementedError

    def input(self, batch: Batch) -> Input:
        """Return the batch rows' input where the feature has no column; needed only for `Reader.input` of this feature."""
        raise NotImplementedError


class Derived(Feature, kind=False):
    """A feature that reads other features through a `Reader`, or the log, and no column of its row.

    A kind declares the names of the features as fields, returns them in `reads`, and builds an encoder in `build_derived`.
    This is enough for a function of other features' vectors:

        class Crossed(Derived):
            first: str
            second: str

            @property
            def reads(self): return self.first, self.second

            @property
            def ids(self): return self.reads

            def build_derived(self, widths, state): return CrossedEncoder(self.reads, widths)

    where `CrossedEncoder.forward(reader)` returns, say, `reader.vectors(first) * reader.vectors(second)`. A kind that depends
    on features of both sides returns True in `sees_target` and belongs in `features`. All other members are optional:

    - Restrictions on the features read: `check`.
    - Input per row, such as a count of earlier rows: `column`; with the log also `reads_log`, `conditions`, `log_columns`, and
      `extended` for events that arrive after training.
    - A state learned from training rows, saved as Parquet: `fit_derived`. Without it the kind has none.
    - Access to embedding tables: `ids`, `tables`. Taking the place of other features: `replaces`.

    `fit`, `encode` and `build` of `Feature` are not called. `tests/test_new_kinds.py` has complete examples.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the features that this one reads; empty if it reads only the log."""
        raise NotImplementedError

    @property
    def replaces(self) -> tuple[str, ...]:
        """Names of the features that this one replaces as inputs of the network, such as an id and its content."""
        return ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the features that the encoder reads by `Reader.ids` or `Reader.vectors`.

        Those that are Categorical share one draw of id dropout per batch; the others are ignored.
        """
        return ()

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the Categorical features read by `Reader.table`. Their tables are updated densely."""
        return ()

    @property
    def reads_log(self) -> bool:
        """Whether `column` reads the log of users' earlier rows. The training table then needs a time column."""
        return False

    @property
    def conditions(self) -> Mapping[str, str]:
        """SQL conditions on the log, by the name that errors use for each. The log keeps the columns that they read."""
        return {}

    @property
    def longest(self) -> int | None:
        """Largest number of elements per row if the input is a sequence (`Padded`), else None."""
        return None

    def check(self, scope: Scope) -> None:
        """Raise `ValueError` if a feature that this one reads is missing or unsuitable. Called at declaration.

        The default fits kinds that read vectors of the same row. Kinds that read tables or earlier rows override it.
        """
        require_known(self, scope)
        require_same_row(self, scope)

    def fit_derived(self, encoded: Callable[[str], Column]) -> State | None:
        """Learn the state from training rows; None for a kind without state.

        `encoded` returns the training column of a feature that reads columns itself, by name.
        """
        return None

    def log_columns(self, features: Features) -> tuple[str, ...]:
        """Return the columns of the log that `column` reads in addition to those in `conditions`."""
        return ()

    def column(
        self, features: Features, states: Mapping[str, State], log: Past | None, rows: pl.DataFrame | None
    ) -> Column | None:
        """Return the input of `rows` (see `Past.positions`: user and time); None for a kind without such input.

        `features` and `states` are all features and their states by name. `log` and `rows` are None unless `reads_log`. A
        feature that reads the log belongs in `user` or `features`. Without a time in `rows`, every row of the log is earlier.
        """
        return None

    def extended(
        self, column: Column, row: int, events: Past, features: Features, elements: Callable[[Feature, Tensor], Column]
    ) -> Column | None:
        """Return a column of one row: row `row` of `column`, a user, updated by later events. None if it does not change.

        Called only if `reads_log`. `elements` returns the column of a feature for the events at some positions.
        """
        return None

    def build_derived(self, widths: Mapping[str, int], state: State | None) -> DerivedEncoder:
        """Make the encoder, given the vector widths of all features by name."""
        raise NotImplementedError


def require_known(feature: Derived, scope: Scope) -> None:
    """Raise `ValueError` if a derived feature reads an undeclared feature, or itself, directly or through others."""
    thing = f"{type(feature).__name__} {feature.name!r}"
    for name in feature.reads:
        if name not in scope.features or name == feature.name:
            remedy = nearest(name, [other for other in scope.features if other != feature.name])
            raise ValueError(f"{thing} reads {name!r}, which is no other feature of this recommender. {remedy}")
        if feature.name in _with_read(name, scope.features):
            raise ValueError(f"{thing} reads itself through {name!r}. Remove one of the two references.")


def require_same_row(feature: Derived, scope: Scope) -> None:
    """Raise `ValueError` if a derived feature reads features of the other side, or features that one of its tasks does not see.

    A task that sees a feature sees all that the feature reads; otherwise a column of its label could leak in this way.
    """
    thing, is_item = f"{type(feature).__name__} {feature.name!r}", scope.sides[feature.name] == "item"
    for name in feature.reads:
        reads_item = scope.sides[name] == "item"
        if is_item and (not reads_item or feature.sees_target):
            raise ValueError(f"{thing} depends on more than the item. Declare it in `user`, not in `item`.")
        if not is_item and (reads_item or scope.features[name].sees_target) and not feature.sees_target:
            raise ValueError(f"{thing} reads {name!r}, which differs from item to item. Move it to `item`.")
        for task, views in scope.views.items():
            if any(feature.name in view and name not in view for view in views):
                remedy = f"Add {name!r} to the `inputs` of the task, or drop {feature.name!r} from them."
                raise ValueError(f"task {task!r} sees {thing} but not {name!r}, which it reads. {remedy}")


def _with_read(name: str, features: Features) -> list[str]:
    """Return a feature and all features that it reads, directly or through others."""
    names = [name]
    for visited in names:
        feature = features.get(visited)
        if isinstance(feature, Derived):
            names += [read for read in feature.reads if read not in names]
    return names
