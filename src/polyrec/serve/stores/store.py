"""`Store`: where the events, served lists and item changes of all workers lie."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from types import TracebackType
from typing import Any, ClassVar, Self

from polyrec.core.address import Address
from polyrec.core.errors import UserError
from polyrec.serve.stores.records import Event, ItemChange, ServedList

SCHEMA = 1
"""Version of what lies in a store; a newer one is refused."""


class UnavailableError(UserError):
    """What should keep the state cannot now: nothing was acknowledged, and the same call may succeed later."""


class Store(ABC):
    """The state of a server, shared by its threads and by its worker processes.

    Every method may be called from any thread and answers within about the `timeout` that the store was opened with. What
    returns is committed and outlives the end of any process (each kind says what a loss of power costs). `UnavailableError` is
    raised where the database cannot answer; whether it did what was asked is then not known, and asking again does no harm.

    A user who is erased is remembered by a keyed hash, whose key is made with the store: from the store alone, nobody can tell
    whose it is.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    """What addresses of this kind begin with."""

    key: bytes
    """What the hashes of erased users are keyed with."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address, self.timeout = address, timeout

    @abstractmethod
    def append(self, events: Sequence[Event], arrived: Sequence[float] | None = None) -> int:
        """Store all events or none, and return how many were new: an event whose id is there already is left as it is.

        `arrived` says when each was first acknowledged, where that was earlier (by a journal). Such an event is left out where
        its user has been erased since.
        """

    @abstractmethod
    def history(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        """Return the newest `limit` events of a user, strictly before a time, the oldest first; ties as they arrived."""

    @abstractmethod
    def erase(self, user: str, at: float | None = None) -> None:
        """Delete the events of a user and take the user out of served lists. Events that come later are accepted.

        `at` says when this was asked for, where that was earlier (by a journal): what arrived after it stays.
        """

    @abstractmethod
    def erased_at(self, user: str) -> float | None:
        """Return when a user was last erased, in seconds since 1970; none for one who never was."""

    @abstractmethod
    def erased_hashes(self, beyond: int = -1) -> frozenset[bytes]:
        """Return the hashes of all users who were ever erased; none where they are no more than `beyond`."""

    @abstractmethod
    def put_items(self, changes: Sequence[ItemChange]) -> int:
        """Store changes of items, all or none, and return the sequence number of the last.

        What is kept of an item is one change: the columns that were ever told of it, each as it was told last, or that it was
        taken away. Two processes may thus tell different columns of an item, neither knowing of the other.

        Sequence numbers are the store's own: they grow in the order in which changes become visible to others.
        """

    @abstractmethod
    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        """Return the changes after a sequence number, in order: what a worker asks again and again."""

    @abstractmethod
    def log_lists(self, lists: Sequence[ServedList]) -> int:
        """Keep lists that were served, and return how many were new, by their request.

        A list is kept without the name of its user where the user has been erased since it was served.
        """

    @abstractmethod
    def lists_since(self, sequence: int, limit: int = 1000) -> tuple[list[ServedList], int]:
        """Return lists after a sequence number, as they were logged, and the number to go on from; no list: the end."""

    @abstractmethod
    def events_since(self, sequence: int, limit: int = 1000) -> tuple[list[Event], int]:
        """Return events after a sequence number, in order of arrival, and the number to go on from; no event: the end."""

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Return how many events, lists, items and erased users there are. They are counted, which takes a while when many."""

    @abstractmethod
    def ping(self) -> None:
        """Return where the store answers and can keep what it is given; raise `UnavailableError` or `UserError` where not."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the store holds open; the store is of no use after."""

    def erased(self, user: str) -> bool:
        """Return whether a user was ever erased: rows of theirs in copies and logs elsewhere are to be dropped, too."""
        return self.erased_at(user) is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address.shown!r})"

    def hashed(self, user: str) -> bytes:
        """Return the hash that an erased user is remembered by."""
        return blake2b(user.encode(), key=self.key, digest_size=32).digest()

    def _hashed_user(self, served: ServedList) -> bytes | None:
        """Return the hash of whom a list was served to."""
        return None if served.user is None else self.hashed(served.user)

    def _rows(self, events: Sequence[Event], arrived: Sequence[float] | None) -> list[tuple[Any, ...]]:
        """Return id, user, item, type, time, values as JSON, arrival and, where erasures may be later, the hash of the user."""
        now = time.time()
        arrivals: Sequence[float] = [now] * len(events) if arrived is None else arrived
        hashes = [None] * len(events) if arrived is None else [self.hashed(event.user) for event in events]
        return [
            (one.id, one.user, one.item, one.type, one.time, json.dumps(one.values, ensure_ascii=False), at, hash_)
            for one, at, hash_ in zip(events, arrivals, hashes, strict=True)
        ]

    def _unavailable(self, error: object) -> UnavailableError:
        remedy = "Check that the database is up and can be written; the same call may succeed later."
        found = self.address.without_secrets(error)
        return UnavailableError(f"store {self.address.shown!r}", expected="an answer", found=found, remedy=remedy)

    def _check_schema(self, found: int) -> None:
        if found != SCHEMA:
            remedy = "Use the version of polyrec that wrote it." if found > SCHEMA else "Move what is in it to a new store."
            thing = f"store {self.address.shown!r}"
            raise UserError(thing, expected=f"schema {SCHEMA}", found=f"schema {found}", remedy=remedy)
