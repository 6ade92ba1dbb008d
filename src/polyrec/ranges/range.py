"""`Range`: the values that a setting may take while it is searched for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from polyrec.core.spec import Family


class Sampler(Protocol):
    """What proposes values: a trial of Optuna, or anything with its three methods."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Propose a number in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Propose a whole number in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Propose one of several."""
        ...


class Range(Family, family="ranges"):
    """The values that one setting may take. A search proposes from it what earlier trials make promising."""

    def suggest(self, name: str, sampler: Sampler) -> Any:
        """Have the sampler propose a value for the setting of this name."""
        raise NotImplementedError

    def ends(self) -> tuple[Any, ...]:
        """Return the values at its ends, or all of them where they have no order: what must fit the setting."""
        raise NotImplementedError
