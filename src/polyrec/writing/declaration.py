"""What writing asks of a recommender's declaration: whose labels must not be shown, and which rows train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from polyrec.data.splits import Split
from polyrec.tasks.task import Task


class Splitting(Protocol):
    """How rows are held out."""

    @property
    def split(self) -> Split:
        """The split."""

    @property
    def seed(self) -> int:
        """Its seed."""


class Declaration(Protocol):
    """A `Recommender`, as far as it matters here: recommenders are a floor above."""

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks."""

    @property
    def training(self) -> Splitting:
        """The training."""
