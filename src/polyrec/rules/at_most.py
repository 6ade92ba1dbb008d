"""AtMost: a limit for each value of a column."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from pydantic import Field

from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class AtMost(Rule):
    """Shows at most `count` items of each value of a column, such as a seller. In a column of lists each value counts.

    Null has no limit. The best items of a value are shown. Pinned items count first and are shown even above the limit.
    """

    examples = ({"count": 1, "column": "genre"}, {"count": 2, "column": "tags"})

    count: int = Field(ge=1)
    """Maximum number of items of one value."""
    column: str
    """Column of the catalogue."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def begin(self, candidates: Candidates) -> Turn:
        return _Limit(self.count, candidates.values(self.column))


class _Limit(Turn):
    def __init__(self, count: int, values: Sequence[frozenset[Hashable]]) -> None:
        self.values = values
        self.places: dict[Hashable, list[int]] = {}
        for place, values_of_item in enumerate(values):
            for value in values_of_item:
                self.places.setdefault(value, []).append(place)
        self.left = dict.fromkeys(self.places, count)

    def took(self, place: int) -> Sequence[int]:
        closed: list[int] = []
        for value in self.values[place]:
            self.left[value] -= 1
            if self.left[value] == 0:
                closed += self.places[value]
        return closed
