"""The records of a store: events, served lists and item changes, with values that every kind of store can represent."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.config import JsonDict

from polyrec.core.spec import Spec


def _check_characters(text: str) -> str:
    if "\x00" in text:
        raise ValueError("expected text without NUL, found a NUL character. PostgreSQL cannot store it: remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"expected Unicode, found half of a surrogate pair at {error.start}. Decode the text again") from None
    return text


def _check_json(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        _check_characters(value)
    elif isinstance(value, list):
        for child in value:
            _check_json(child)
    elif isinstance(value, dict):
        for key, child in value.items():
            _check_characters(key)
            _check_json(child)
    return value


_NO_NUL = Field(json_schema_extra={"pattern": "^[^\\u0000]*$"})

Key = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_check_characters), _NO_NUL]
"""An identifier of 1 to 256 characters, which fits an index of every database."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_characters), _NO_NUL]
"""A name of a type, value, task or model, of 1 to 64 characters."""
Unicode = Annotated[str, AfterValidator(_check_characters), _NO_NUL]
"""Text of any length."""
Text = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_check_characters), _NO_NUL]
"""A text value of up to 4096 characters."""
Content = Annotated[JsonValue, AfterValidator(_check_json)]
"""A JSON value."""

FIRST, LAST = -62_135_596_800, 253_402_300_799
"""The first second of the year 1 and the last second of the year 9999, in seconds since 1970."""

_NAMES: JsonDict = {"propertyNames": {"minLength": 1, "maxLength": 64, "pattern": "^[^\\u0000]*$"}}


class _Record(Spec):
    """A record with finite numbers and well-formed Unicode without NUL; no value is converted to another type."""

    model_config = ConfigDict(strict=True)


class Event(_Record):
    """An interaction of a user with an item."""

    id: Key
    """Unique identifier, assigned by the sender: a duplicate is stored once."""
    user: Key
    """Key of the user."""
    item: Key
    """Key of the item."""
    type: Name
    """Kind of interaction, such as `click` or `rate`."""
    time: float = Field(ge=FIRST, le=LAST)
    """Time in seconds since 1970, within the years 1 to 9999, which every calendar library can represent."""
    values: dict[Name, float | bool | Text | None] = Field(default={}, max_length=64, json_schema_extra=_NAMES)
    """Values of the event, such as `{"rating": 5}`; integers are stored as floats."""


def stored_event(id: str, user: str, item: str, type: str, time: float, values: str) -> Event:
    """Return a stored event without validating it again; `values` is JSON."""
    return Event.model_construct(id=id, user=user, item=item, type=type, time=time, values=json.loads(values))


class ServedItem(_Record):
    """An item of a served list; its key and tasks are not restricted."""

    item: str
    """Key of the item."""
    position: int = Field(ge=1)
    """Position in the list, from 1."""
    score: float
    """Score by which the list was ranked."""
    propensity: float | None = Field(default=None, gt=0, le=1)
    """Probability of the item at this position, by which off-policy estimators divide; none if unknown."""
    predictions: dict[str, float] = {}
    """Predictions by task."""


class ServedList(_Record):
    """The answer to one request."""

    request: Key
    """Unique identifier of the request: a duplicate is stored once."""
    time: float
    """Time of serving, in seconds since 1970."""
    user: Key | None
    """Key of the user; none if unknown or erased."""
    model: Key
    """Version of the model."""
    items: tuple[ServedItem, ...] = Field(strict=False, max_length=10_000)
    """Items of the list, in order."""
    shown: bool = True
    """Whether the list was shown to the user; lists of shadow versions are only logged."""


class ItemChange(_Record):
    """A change of an item."""

    item: Key
    """Key of the item."""
    columns: dict[Unicode, Content] | None
    """Changed columns with JSON values, the others keep theirs; none if the item is removed."""
    sequence: int = Field(default=0, ge=0)
    """Sequence number assigned by the store; 0 before the change is stored."""

    def over(self, known: str | None) -> str:
        """Return the merged columns as JSON: the changed ones, plus the other ones of `known`, the stored JSON.

        A removed item starts without columns.
        """
        before = None if known is None or self.columns is None else json.loads(known)
        return json.dumps(self.columns if before is None else {**before, **(self.columns or {})})
