"""`Stage`: states, training rows and held-out rows of a model, and the tables that its recommender keeps."""

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
"""Moves a tensor to its final storage and returns it from there."""


@dataclass(frozen=True)
class Stage:
    """Encoded training rows, the states learned from them, and encoded held-out rows."""

    features: Mapping[str, pl.DataFrame]
    """State of each feature."""
    tasks: Mapping[str, pl.DataFrame]
    """State of each task."""
    rows: Prepared
    """Training rows."""
    observed: Mapping[str, int]
    """Number of observed labels of each task in the training rows."""
    held: Prepared | None = None
    """Held-out rows, if any."""
    users: Tensor | None = None
    """User number of each held-out row, (N,), if users are declared."""
    frames: Frames | None = None
    """The tables that the recommender keeps; None for the stage of all rows, which uses the frames of the selection."""
    data: DataFacts | None = None
    """Facts of the tables; None for the stage of all rows, likewise."""


def keep_column(column: Column, keep: Keep) -> Column:
    """Apply `keep` to all tensors of a column."""
    kept: dict[str, Any] = {}
    for part in fields(column):  # type: ignore[arg-type]  # every kind of column is a dataclass
        value = getattr(column, part.name)
        kept[part.name] = keep(value) if isinstance(value, Tensor) else keep_column(value, keep)
    return replace(column, **kept)  # type: ignore[type-var]


def in_memory(tensor: Tensor) -> Tensor:
    """Keep a tensor in memory, unchanged."""
    return tensor
