"""What a store keeps: events, lists that were served, changes of items. What is in them can be stored by every kind."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.config import JsonDict

from polyrec.core.spec import Spec


def _check_characters(text: str) -> str:
    if "\x00" in text:
        raise ValueError("expected text, found the character NUL in it. PostgreSQL stores none: remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"expected Unicode, found half of a character at {error.start}. Decode the text anew") from None
    return text


def _check_json(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        _check_characters(value)
    elif isinstance(value, list):
        for one in value:
            _check_json(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_characters(key)
            _check_json(one)
    return value


_NO_NUL = Field(json_schema_extra={"pattern": "^[^\\u0000]*$"})

Key = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_check_characters), _NO_NUL]
"""An identifier: 1 to 256 characters, which an index of every database holds."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_check_characters), _NO_NUL]
"""A name of a type, value, task or model: 1 to 64 characters."""
Unicode = Annotated[str, AfterValidator(_check_characters), _NO_NUL]
"""Text of any length."""
Text = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_check_characters), _NO_NUL]
"""A value that is text: up to 4096 characters."""
Content = Annotated[JsonValue, AfterValidator(_check_json)]
"""A value of JSON."""

FIRST, LAST = -62_135_596_800, 253_402_300_799
"""The first second of the year 1 and the last of the year 9999, since 1970."""

_NAMES: JsonDict = {"propertyNames": {"minLength": 1, "maxLength": 64, "pattern": "^[^\\u0000]*$"}}


class _Record(Spec):
    """Numbers are finite, texts well-formed Unicode without NUL, and no value is turned into one of another type."""

    model_config = ConfigDict(strict=True)


class Event(_Record):
    """Something that a user did to an item."""

    id: Key
    """Unique among all events, given by who sends it: a repeat is stored once."""
    user: Key
    """Who did it."""
    item: Key
    """To what."""
    type: Name
    """What was done, such as `click` or `rate`."""
    time: float = Field(ge=FIRST, le=LAST)
    """When it was done, in seconds since 1970; between the years 1 and 9999, which every calendar can tell."""
    values: dict[Name, float | bool | Text | None] = Field(default={}, max_length=64, json_schema_extra=_NAMES)
    """What came with it, such as `{"rating": 5}`; whole numbers are kept as floats."""


def stored_event(id: str, user: str, item: str, type: str, time: float, values: str) -> Event:
    """Return an event that was checked before it was stored, without checking it anew; its values as JSON."""
    return Event.model_construct(id=id, user=user, item=item, type=type, time=time, values=json.loads(values))


class ServedItem(_Record):
    """An item in a list that was served: whatever keys and tasks a model has."""

    item: str
    """The item."""
    position: int = Field(ge=1)
    """Its place in the list, from 1."""
    score: float
    """The score that it was ranked by."""
    propensity: float | None = Field(default=None, gt=0, le=1)
    """The probability that it was shown at this place, which off-policy estimators divide by; none where it is not known."""
    predictions: dict[str, float] = {}
    """What was predicted for it, by task."""


class ServedList(_Record):
    """The answer to one request."""

    request: Key
    """Unique among all requests: a repeat is stored once."""
    time: float
    """When it was served, in seconds since 1970."""
    user: Key | None
    """Whom it was served to; none for one who is not known, or was erased."""
    model: Key
    """The version of the model."""
    items: tuple[ServedItem, ...] = Field(strict=False, max_length=10_000)
    """What was in it."""
    shown: bool = True
    """Whether the user saw it; lists of versions in the shadow are made and shown to nobody."""


class ItemChange(_Record):
    """What changes of an item."""

    item: Key
    """The item."""
    columns: dict[Unicode, Content] | None
    """The columns that are told of it as JSON, the others stay as they were; none where it is taken away."""
    sequence: int = Field(default=0, ge=0)
    """Which change it is, counted by the store; 0 until it is there."""

    def over(self, known: str | None) -> str:
        """Return the columns to keep as JSON: those told now, and of those that a store knows as JSON the others.

        An item that was taken away begins anew.
        """
        before = None if known is None or self.columns is None else json.loads(known)
        return json.dumps(self.columns if before is None else {**before, **(self.columns or {})})
