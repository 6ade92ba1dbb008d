"""User keys in the form of requests, of stores and hashes, and of model versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import polars as pl

from polyrec.data.keys import key_text, key_texts
from polyrec.serve.api import messages
from polyrec.serve.stores.records import Event
from polyrec.serve.versions.slot import Slot

Body = TypeVar("Body", messages.RecommendRequest, messages.ScoreRequest, messages.ExplainRequest)


def text_of(current: Slot, user: str) -> str:
    """Return the canonical text of a user's key, which the store, its hashes and the models use.

    The key type of the current version defines it for all versions.
    """
    return key_text(user, _kind(current))


def by_key(current: Slot, body: Body) -> Body:
    """Return a request with the canonical text of its user's key."""
    text = None if body.user is None else text_of(current, body.user)
    return body if text == body.user else body.model_copy(update={"user": text})


def events_by_key(current: Slot, events: Sequence[Event]) -> list[Event]:
    """Return events with the canonical texts of their users' keys."""
    texts = key_texts(pl.Series([event.user for event in events], dtype=pl.String), _kind(current)).to_list()
    return [
        event if text == event.user else event.model_copy(update={"user": text})
        for event, text in zip(events, texts, strict=True)
    ]


def key_in(slot: Slot, user: str) -> Any:
    """Return a user's key as a value of a version's key column.

    The result is none if the version writes the key differently: the value would then be an alias of another user.
    """
    return slot.user_key(user) if text_of(slot, user) == user else None


def _kind(slot: Slot) -> pl.DataType:
    return slot.fitted.catalogue.users.kinds[slot.fitted.user_key]
