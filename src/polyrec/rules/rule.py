"""`Rule`: one step from ranked candidates to a list. Shape letters: N candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import ConfigDict

from polyrec.core.errors import UserError
from polyrec.core.spec import Family
from polyrec.data.conditions.expressions import require_columns
from polyrec.rules.candidates import Candidates


class Rule(Family, family="rules"):
    """A rule that turns ranked candidates into the list that is shown.

    First every rule states which candidates are allowed (`keep`) and which have a fixed position (`pins`). Then the positions
    are filled from the top: with the candidate pinned to the position, else with the best open candidate. Limits close
    candidates; other rules change the scores, in the order of declaration; at most one rule chooses at random. A rule
    implements the hooks that it needs. Requests may contain rules; values are therefore never converted to another type.
    """

    model_config = ConfigDict(strict=True)

    explores: ClassVar[bool] = False
    """Whether the rule chooses at random; at most one rule of a list may."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the catalogue that the rule reads."""
        return ()

    @property
    def needs_vectors(self) -> bool:
        """Whether the rule compares items by their vectors."""
        return False

    def keep(self, candidates: Candidates) -> np.ndarray | None:
        """Return a mask (N,) of the allowed candidates, or None to allow all."""
        return None

    @property
    def pins(self) -> Mapping[int, int | str]:
        """Keys of pinned items by position, counted from 1."""
        return {}

    def begin(self, candidates: Candidates) -> Turn | None:
        """Return the state that fills the positions of one list, or None if the rule has none."""
        return None


class Turn:
    """The state of a rule while one list is filled; by default it changes nothing."""

    def took(self, place: int) -> Sequence[int]:
        """Record that a candidate was listed; return the places of the candidates that it rules out.

        Pinned candidates are recorded before the first position is filled.
        """
        return ()

    def score(self, scores_N: np.ndarray) -> np.ndarray:
        """Return the values (N,) that rank the candidates for the next position, given those of the preceding rules."""
        return scores_N

    def odds(self, scores: np.ndarray) -> np.ndarray:
        """Return the probability of each open candidate at the next position, given their scores, the best first.

        Candidates beyond the returned array have the probability 0.
        """
        return np.ones(1)


def check_rules(rules: Sequence[Rule]) -> None:
    """Raise `UserError` if rules conflict: two random rules, two items at one position, one item at two positions."""
    chance = [type(rule).__name__ for rule in rules if rule.explores]
    if len(chance) > 1:
        found = f"{len(chance)}: {', '.join(chance)}"
        raise UserError("rules", expected="at most one that chooses at random", found=found, remedy="Keep one.")
    pins = [pin for rule in rules for pin in rule.pins.items()]
    pinned = Counter([f"position {position}" for position, _ in pins] + [f"item {str(key)!r}" for _, key in pins])
    for what, times in pinned.items():
        if times > 1:
            raise UserError("rules", expected=f"{what} pinned once", found="twice", remedy="Pin it once.")


def check_columns(rules: Sequence[Rule], items: pl.DataFrame) -> None:
    """Raise `UserError` if a rule reads a column that the catalogue lacks."""
    for rule in rules:
        require_columns(items, rule.columns, f"rule {type(rule).__name__} on the catalogue")
