"""Pinned: items with a fixed position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, StrictInt, StrictStr, model_validator
from pydantic.config import JsonDict

from polyrec.rules.rule import Rule, check_rules

MOST = 1000
"""Maximum number of items that one rule pins."""

_POSITIONS: JsonDict = {"propertyNames": {"pattern": "^[1-9][0-9]{0,8}$"}}
"""Pattern of a position as a JSON key, which must be a string."""


class Pinned(Rule):
    """Shows items at fixed positions and fills the others around them. No random rule moves them: their propensity is 1.

    A pinned item that another rule removes, or that is no candidate, is left out, and a note of the list reports it. If the
    candidates end before a position, the pinned item moves up, so that the list has no gap.
    """

    examples = ({"items": {"1": "c"}}, {"items": {"3": "a", "2": "e"}})

    items: dict[Annotated[int, Field(ge=1, strict=False)], StrictInt | StrictStr] = Field(
        max_length=MOST, json_schema_extra=_POSITIONS
    )
    """Key of the item by position, counted from 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_rules([self])
        return self

    @property
    def pins(self) -> Mapping[int, int | str]:
        return self.items
