"""Shapes of the data and the model of each workload. Needs only the standard library, because arms import it too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The shape of a data set; together with the seed it determines every value."""

    vocabularies: tuple[int, ...] = (1_000_000,) * 2 + (100_000,) * 4 + (1_000,) * 14
    """Values of each id column."""
    numbers: int = 10
    tasks: int = 3
    bag: int = 0
    """Values of a column of lists; 0 for no such column."""
    rows: int = 1_000_000
    test_rows: int = 100_000
    seed: int = 0


@dataclass(frozen=True)
class Size:
    """The sizes of an MMoE and of its training."""

    width: int = 16
    experts: int = 8
    hidden: tuple[int, ...] = (256, 128)
    tower: tuple[int, ...] = (64,)
    learning_rate: float = 1e-3


W2 = Shape()
W3 = Shape(bag=100_000)
W1 = Shape(vocabularies=(1_000, 1_000), numbers=0, tasks=2, rows=200_000, test_rows=20_000)
TWO_TOWERS = Size(width=64, experts=0, hidden=(64,), tower=())
"""The id model of W1: one shared layer above both vectors, no experts."""
LONGEST = 50
"""Maximum number of values in a row's list."""


def ids(shape: Shape) -> list[str]:
    """Return the names of the id columns."""
    return [f"id{number}" for number in range(len(shape.vocabularies))]


def numbers(shape: Shape) -> list[str]:
    """Return the names of the number columns."""
    return [f"x{number}" for number in range(shape.numbers)]


def labels(shape: Shape) -> list[str]:
    """Return the names of the label columns."""
    return [f"y{number}" for number in range(shape.tasks)]


def plain(value: Shape | Size) -> dict[str, Any]:
    """Return the fields as JSON values."""
    return asdict(value)


def shape_of(job: dict[str, Any]) -> Shape:
    """Return the shape of a job's data."""
    return Shape(**{**job["shape"], "vocabularies": tuple(job["shape"]["vocabularies"])})


def size_of(job: dict[str, Any]) -> Size:
    """Return the sizes of a job's model."""
    return Size(**{**job["size"], "hidden": tuple(job["size"]["hidden"]), "tower": tuple(job["size"]["tower"])})
