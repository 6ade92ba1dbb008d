"""`Dataset`: a named set of tables with its terms of use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class LoadedDataset:
    """The tables of a data set."""

    interactions: pl.DataFrame
    """One row per interaction, review or person."""
    users: pl.DataFrame | None = None
    """One row per user, keyed by `user_id`."""
    items: pl.DataFrame | None = None
    """One row per item, keyed by `item_id`."""

    def table(self) -> pl.DataFrame:
        """Return one wide table: the interactions joined with the columns of their user and item."""
        wide = self.interactions
        for side, key in ((self.users, "user_id"), (self.items, "item_id")):
            if side is not None:
                wide = wide.join(side, on=key, how="left", maintain_order="left")
        return wide


@dataclass(frozen=True)
class Dataset:
    """A named data set: its title, its terms of use, and the function that loads it."""

    name: str
    title: str
    terms: str
    """Terms of use and the work to cite; commands that load the set print them."""
    load: Callable[[], LoadedDataset]
