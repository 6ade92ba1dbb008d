"""Keys of users, as requests tell them, as stores and hashes hold them, and as versions know them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import polars as pl

from polyrec.data.keys import key_text, key_texts
from polyrec.serve.api import messages
from polyrec.serve.stores.records import Event
from polyrec.serve.versions.slot import Slot

Asked = TypeVar("Asked", messages.RecommendRequest, messages.ScoreRequest, messages.ExplainRequest)


def text_of(current: Slot, user: str) -> str:
    """Return the one text of a user's key, by which the store, its hashes and the models know the user.

    The current version's kind of key decides, in all versions.
    """
    return key_text(user, _kind(current))


def by_key(current: Slot, asked: Asked) -> Asked:
    """Return a request whose user is told by that text."""
    text = None if asked.user is None else text_of(current, asked.user)
    return asked if text == asked.user else asked.model_copy(update={"user": text})


def events_by_key(current: Slot, events: Sequence[Event]) -> list[Event]:
    """Return events whose users are told by that text."""
    texts = key_texts(pl.Series([event.user for event in events], dtype=pl.String), _kind(current)).to_list()
    return [
        event if text == event.user else event.model_copy(update={"user": text})
        for event, text in zip(events, texts, strict=True)
    ]


def key_in(slot: Slot, user: str) -> Any:
    """Return a user's key as a version tells it; none where that version writes it otherwise, who would be another's alias."""
    return slot.user_key(user) if text_of(slot, user) == user else None


def _kind(slot: Slot) -> pl.DataType:
    return slot.fitted.catalogue.users.kinds[slot.fitted.user_key]
