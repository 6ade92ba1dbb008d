"""`Range`: the values of a setting in a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from polyrec.core.spec import Family


class Sampler(Protocol):
    """Source of proposed values: a trial of Optuna, or any object with its three methods."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Propose a number in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Propose an integer in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Propose one of several values."""
        ...


class Range(Family, family="ranges"):
    """Values that one setting may take. A search proposes those that earlier trials make promising."""

    def suggest(self, name: str, sampler: Sampler) -> Any:
        """Let the sampler propose a value for the setting of this name."""
        raise NotImplementedError

    def ends(self) -> tuple[Any, ...]:
        """Return the smallest and largest value, or all unordered values; each must fit the setting."""
        raise NotImplementedError
