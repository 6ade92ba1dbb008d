"""Reading report.json: which contenders and tasks there are to tell of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from polyrec.compare.contenders import BOOSTED

Document = Mapping[str, Any]
"""The figures, as report.json has them."""


def judged(document: Document) -> list[Mapping[str, Any]]:
    """Return the contenders but the single-task models."""
    return [own for own in document["contenders"] if own["role"] != "single"]


def as_given(document: Document) -> Mapping[str, Any]:
    """Return the contender that is the declaration as it was given."""
    found: Mapping[str, Any] = next(own for own in document["contenders"] if own["own"])
    return found


def headlines(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Go through the tasks that have a headline: task, metric, and what is told of the task."""
    for task, told in document["tasks"].items():
        if told["headline"] is not None:
            yield task, told["headline"], told


def figure_of(own: Mapping[str, Any], task: str, metric: str) -> Mapping[str, Any]:
    """Return a figure of a contender; empty where there is none."""
    found: Mapping[str, Any] = own["figures"].get(task, {}).get(metric, {})
    return found


def row_name(own: Mapping[str, Any]) -> str:
    """Return the name under which a contender stands among those of one task."""
    return "single-task" if own["role"] == "single" else BOOSTED if own["role"] == "boosting" else str(own["name"])


def full_name(own: Mapping[str, Any]) -> str:
    """Return the name under which a contender stands among those of all tasks."""
    return f"{own['name']} alone" if own["role"] == "single" else str(own["name"])


def arrow(task: Mapping[str, Any], metric: str) -> str:
    """Return which way is better."""
    return "↑" if task["metrics"][metric]["higher_is_better"] else "↓"


def or_nan(value: float | None) -> float:
    """Return a figure as a number."""
    return math.nan if value is None else value
