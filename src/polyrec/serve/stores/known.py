"""The histories and erasures that a process saw last, used while the store does not answer."""

from __future__ import annotations

import time
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Lock

from polyrec.serve.stores.records import Event

_MOST = 256
"""Number of events kept per user."""

_FORGOTTEN = 1000
"""Number of users whose time of forgetting is kept, for calls in progress at that time."""


@dataclass
class _Entry:
    events: list[Event]
    changed: float


class KnownHistories:
    """The newest events of the `users` most recently seen users.

    An answer of the store is kept unless new events arrived during the query, which the answer may lack. Results of a call are
    discarded if their user was forgotten while it was in progress. Times are those of `time.monotonic`.
    """

    def __init__(self, users: int) -> None:
        self._users = users
        self._lock = Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._forgotten: OrderedDict[str, float] = OrderedDict()
        self._forgotten_before = 0.0

    def recall(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        """Return the newest known events of a user before a time, the oldest first."""
        with self._lock:
            entry = self._entries.get(user)
            events = list(entry.events) if entry else []
        return [event for event in events if before is None or event.time < before][-limit:]

    def learn(self, user: str, events: Sequence[Event], queried_at: float) -> None:
        """Keep the newest events of a user from an answer of the store to a query at a time."""
        with self._lock:
            entry = self._entries.get(user)
            if not self._was_forgotten(user, queried_at) and (entry is None or entry.changed < queried_at):
                self._put(user, _Entry(list(events[-_MOST:]), queried_at))

    def add(self, events: Sequence[Event], is_stored: bool, arrived_at: float) -> None:
        """Add events that arrived at a time. Events of unseen users are skipped if `is_stored`, as the store has them."""
        with self._lock:
            for event in events:
                if self._was_forgotten(event.user, arrived_at):
                    continue
                entry = self._entries.get(event.user)
                if entry is None and is_stored:
                    continue
                entry = entry or _Entry([], 0)
                if all(event.id != known.id for known in entry.events):
                    insort(entry.events, event, key=lambda known: known.time)
                    del entry.events[:-_MOST]
                entry.changed = time.monotonic()
                self._put(event.user, entry)

    def forget(self, user: str) -> None:
        """Drop the known events of a user."""
        with self._lock:
            self._entries.pop(user, None)
            self._forgotten[user] = time.monotonic()
            self._forgotten.move_to_end(user)
            if len(self._forgotten) > _FORGOTTEN:
                _, self._forgotten_before = self._forgotten.popitem(last=False)

    def forget_where(self, holds: Callable[[str], bool]) -> None:
        """Drop the known events of all users that satisfy a predicate."""
        with self._lock:
            users = list(self._entries)
        for user in users:
            if holds(user):
                self.forget(user)

    def _was_forgotten(self, user: str, since: float) -> bool:
        """Return whether a user may have been forgotten since a time.

        A user without a kept time counts as forgotten at the latest time that was discarded.
        """
        return self._forgotten.get(user, self._forgotten_before) >= since

    def _put(self, user: str, entry: _Entry) -> None:
        self._entries[user] = entry
        self._entries.move_to_end(user)
        if len(self._entries) > self._users:
            self._entries.popitem(last=False)


class KnownErasures:
    """The hashes of erased users as last read from a store. Erasures are permanent, so the set only grows."""

    def __init__(self) -> None:
        self._hashes: set[bytes] = set()
        self._is_loaded = False

    @property
    def count(self) -> int:
        """Number of known hashes; -1 before the first read."""
        return len(self._hashes) if self._is_loaded else -1

    def learn(self, hashes: Collection[bytes]) -> Collection[bytes]:
        """Add hashes from the store, and return the new ones."""
        new = set(hashes) - self._hashes
        self._hashes |= new
        self._is_loaded = True
        return new

    def add(self, user: bytes) -> None:
        """Add the hash of a newly erased user."""
        self._hashes.add(user)

    def recall(self, user: bytes) -> bool | None:
        """Return whether the hash belongs to an erased user; none if unknown."""
        return user in self._hashes if self._is_loaded else user in self._hashes or None
