"""The part of a recommender's declaration that writing reads: its labels, which stay hidden, and its training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from polyrec.data.splits import Split
from polyrec.tasks.task import Task


class Splitting(Protocol):
    """How rows are held out."""

    @property
    def split(self) -> Split:
        """The split into training and held-out rows."""

    @property
    def seed(self) -> int:
        """Seed of the split."""


class Declaration(Protocol):
    """The attributes of a `Recommender` that are read here; this package lies below recommenders and cannot import them."""

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks, whose labels must not be shown."""

    @property
    def training(self) -> Splitting:
        """The training settings."""
