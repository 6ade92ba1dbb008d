"""Pinned: items with a position of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, StrictInt, StrictStr, model_validator
from pydantic.config import JsonDict

from polyrec.rules.rule import Rule, check_rules

MOST = 1000
"""Items that one rule pins, at most."""

_POSITIONS: JsonDict = {"propertyNames": {"pattern": "^[1-9][0-9]{0,8}$"}}
"""JSON has texts for keys alone: these are of whole numbers."""


class Pinned(Rule):
    """Shows items at fixed positions. The others flow around them, and no rule of chance moves them: their propensity is 1.

    One that another rule leaves out, or that is not among the candidates, is left out, which the list tells in its notes. Where
    the others end before a position, the item moves up, so that the list has no gap.
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
