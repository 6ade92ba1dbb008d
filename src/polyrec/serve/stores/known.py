"""The histories that a process saw last, for when the store cannot be asked."""

from __future__ import annotations

import time
from bisect import insort
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from polyrec.serve.stores.records import Event

_MOST = 256
"""Events of a user that are kept."""


@dataclass
class _Entry:
    events: list[Event]
    changed: float


class KnownHistories:
    """The newest events of the users met last, no more than `users` of them.

    What a store answered is kept unless something came in while it was asked, which the answer may lack.
    """

    def __init__(self, users: int) -> None:
        self._users = users
        self._lock = Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._forgotten = 0.0

    def recall(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        """Return the newest known events of a user before a time, the oldest first."""
        with self._lock:
            entry = self._entries.get(user)
            events = list(entry.events) if entry else []
        return [event for event in events if before is None or event.time < before][-limit:]

    def learn(self, user: str, events: Sequence[Event], asked: float) -> None:
        """Keep the newest events of a user as the store told them when it was asked, at a time of `time.monotonic`."""
        with self._lock:
            entry = self._entries.get(user)
            if self._forgotten < asked and (entry is None or entry.changed < asked):
                self._put(user, _Entry(list(events[-_MOST:]), asked))

    def add(self, events: Sequence[Event], is_known_elsewhere: bool) -> None:
        """Add events that came in; those of users not met are left out where the store knows them."""
        with self._lock:
            for event in events:
                entry = self._entries.get(event.user)
                if entry is None and is_known_elsewhere:
                    continue
                entry = entry or _Entry([], 0)
                if all(event.id != other.id for other in entry.events):
                    insort(entry.events, event, key=lambda one: one.time)
                    del entry.events[:-_MOST]
                entry.changed = time.monotonic()
                self._put(event.user, entry)

    def forget(self, user: str) -> None:
        """Drop what is known of a user."""
        with self._lock:
            self._entries.pop(user, None)
            self._forgotten = time.monotonic()

    def _put(self, user: str, entry: _Entry) -> None:
        self._entries[user] = entry
        self._entries.move_to_end(user)
        if len(self._entries) > self._users:
            self._entries.popitem(last=False)
