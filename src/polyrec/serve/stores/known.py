"""The histories and erasures that a process saw last, for when the store cannot be asked."""

from __future__ import annotations

import time
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from threading import Lock

from polyrec.serve.stores.records import Event

_MOST = 256
"""Events of a user that are kept."""

_FORGOTTEN = 1000
"""Users of whom it is kept when they were forgotten, for the calls that were under way then."""


@dataclass
class _Entry:
    events: list[Event]
    changed: float


class KnownHistories:
    """The newest events of the users met last, no more than `users` of them.

    What a store answered is kept unless something came in while it was asked, which the answer may lack. Of a user who was
    forgotten while a call was under way, nothing is kept that the call brings. Times are those of `time.monotonic`.
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

    def learn(self, user: str, events: Sequence[Event], asked: float) -> None:
        """Keep the newest events of a user as the store told them when it was asked, at a time."""
        with self._lock:
            entry = self._entries.get(user)
            if not self._was_forgotten(user, asked) and (entry is None or entry.changed < asked):
                self._put(user, _Entry(list(events[-_MOST:]), asked))

    def add(self, events: Sequence[Event], is_known_elsewhere: bool, came: float) -> None:
        """Add events that came in at a time; those of users not met are left out where the store knows them."""
        with self._lock:
            for event in events:
                if self._was_forgotten(event.user, came):
                    continue
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
            self._forgotten[user] = time.monotonic()
            self._forgotten.move_to_end(user)
            if len(self._forgotten) > _FORGOTTEN:
                _, self._forgotten_before = self._forgotten.popitem(last=False)

    def forget_where(self, holds: Callable[[str], bool]) -> None:
        """Drop what is known of all users of whom something holds."""
        with self._lock:
            users = list(self._entries)
        for user in users:
            if holds(user):
                self.forget(user)

    def _was_forgotten(self, user: str, since: float) -> bool:
        """Return whether a user was forgotten since a time; of one forgotten long ago, as if it had been so late."""
        return self._forgotten.get(user, self._forgotten_before) >= since

    def _put(self, user: str, entry: _Entry) -> None:
        self._entries[user] = entry
        self._entries.move_to_end(user)
        if len(self._entries) > self._users:
            self._entries.popitem(last=False)


class KnownErasures:
    """The hashes of erased users as a store told them last. There is no way back, so that they are never fewer."""

    def __init__(self) -> None:
        self._hashes: set[bytes] = set()
        self._is_told = False

    @property
    def count(self) -> int:
        """How many are known; fewer than none where the store told nothing yet."""
        return len(self._hashes) if self._is_told else -1

    def learn(self, hashes: Collection[bytes]) -> Collection[bytes]:
        """Add what the store told, and return what of it was not known."""
        new = set(hashes) - self._hashes
        self._hashes |= new
        self._is_told = True
        return new

    def add(self, user: bytes) -> None:
        """Add the hash of a user who was erased just now."""
        self._hashes.add(user)

    def recall(self, user: bytes) -> bool | None:
        """Return whether the hash is an erased user's; none where that is not known."""
        return user in self._hashes if self._is_told else user in self._hashes or None
