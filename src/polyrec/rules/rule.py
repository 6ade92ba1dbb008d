"""`Rule`: a part in the making of a list. Shape letters: N candidates."""

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
    """What turns ranked candidates into the list that is shown.

    A list is made from the top. First every rule says which candidates may stand in it at all (`keep`) and which have a
    position of their own (`pins`). Then each position is filled: by the candidate that is pinned to it, else by the best of
    those open. Limits close candidates, other rules change what counts as best, each in the order of declaration, and one at
    most leaves the choice to chance. A rule implements the hooks that it needs. Rules come in requests too, so that no value of
    theirs is turned into one of another type.
    """

    model_config = ConfigDict(strict=True)

    explores: ClassVar[bool] = False
    """Whether it leaves the choice to chance; of all the rules of a list one may."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the catalogue that it reads."""
        return ()

    @property
    def needs_vectors(self) -> bool:
        """Whether it compares items by their vectors."""
        return False

    def keep(self, candidates: Candidates) -> np.ndarray | None:
        """Return which candidates may stand in the list, booleans (N,), or None for all."""
        return None

    @property
    def pins(self) -> Mapping[int, int | str]:
        """Keys of items by the position, counted from 1, that they are to have."""
        return {}

    def begin(self, candidates: Candidates) -> Turn | None:
        """Return what takes part in filling the positions of one list, or None."""
        return None


class Turn:
    """A rule's part in one list while it grows; all that it does by default is nothing."""

    def took(self, place: int) -> Sequence[int]:
        """Take note that the candidate at a place stands in the list, and return the places of those that thereby may not.

        Pinned candidates are told before the first position is filled.
        """
        return ()

    def score(self, scores_N: np.ndarray) -> np.ndarray:
        """Return what the candidates are chosen by at the next position, from what the rules before made of it."""
        return scores_N

    def odds(self, scores: np.ndarray) -> np.ndarray:
        """Return the probability of each open candidate to stand at the next position, given their scores, the best first.

        Those beyond the probabilities returned have none.
        """
        return np.ones(1)


def check_rules(rules: Sequence[Rule]) -> None:
    """Raise `UserError` where rules cannot stand together: two of chance, two items at a position, an item at two."""
    chance = [type(rule).__name__ for rule in rules if rule.explores]
    if len(chance) > 1:
        found = f"{len(chance)}: {', '.join(chance)}"
        raise UserError("rules", expected="one at most that leaves the choice to chance", found=found, remedy="Keep one.")
    pins = [pin for rule in rules for pin in rule.pins.items()]
    pinned = Counter([f"position {position}" for position, _ in pins] + [f"item {str(key)!r}" for _, key in pins])
    for what, times in pinned.items():
        if times > 1:
            raise UserError("rules", expected=f"{what} pinned once", found="twice", remedy="Pin it once.")


def check_columns(rules: Sequence[Rule], items: pl.DataFrame) -> None:
    """Raise `UserError` where a rule reads a column that the catalogue lacks."""
    for rule in rules:
        require_columns(items, rule.columns, f"rule {type(rule).__name__} on the catalogue")
