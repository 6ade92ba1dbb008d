"""`Stage`: all that a model is built from, trained on and judged on, and what its recommender keeps of the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import polars as pl
from torch import Tensor

from polyrec.artifact.facts import DataFacts, Frames
from polyrec.core.batch import Column
from polyrec.data.prepared import Prepared

Keep = Callable[[Tensor], Tensor]
"""Puts a tensor where it is to stay, and returns it from there."""


@dataclass(frozen=True)
class Stage:
    """States learned from the rows to train on, these rows, and those that are held out, as numbers."""

    features: Mapping[str, pl.DataFrame]
    """State of each feature."""
    tasks: Mapping[str, pl.DataFrame]
    """State of each task."""
    rows: Prepared
    """The rows to train on."""
    observed: Mapping[str, int]
    """How many labels of each task are observed among them."""
    held: Prepared | None = None
    """The rows to judge on, where any are held out."""
    users: Tensor | None = None
    """Numbers of the users of the rows to judge on, (N,), where users are declared."""
    frames: Frames | None = None
    """The tables that the recommender keeps; None where all rows are trained on anew, which keeps those of the selection."""
    data: DataFacts | None = None
    """Facts of the tables, likewise."""


def keep_column(column: Column, keep: Keep) -> Column:
    """Return a column whose tensors are all kept."""
    kept: dict[str, Any] = {}
    for part in fields(column):  # type: ignore[arg-type]  # every kind of column is a dataclass
        value = getattr(column, part.name)
        kept[part.name] = keep(value) if isinstance(value, Tensor) else keep_column(value, keep)
    return replace(column, **kept)  # type: ignore[type-var]


def in_memory(tensor: Tensor) -> Tensor:
    """Keep a tensor in memory, as it is."""
    return tensor
