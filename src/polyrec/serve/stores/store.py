"""`Store`: the events, served lists and item changes of all workers."""

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
"""Version of the schema of a store; any other version is refused."""


class UnavailableError(UserError):
    """The state cannot be stored now: nothing was acknowledged, and the same call may succeed later."""


class Store(ABC):
    """The state of a server, shared by its threads and its worker processes.

    Every method may be called from any thread and returns within about the `timeout` of the store. A write that returned is
    committed and survives the end of any process; each kind of store states what a loss of power costs. `UnavailableError` is
    raised if the database cannot answer. The write may then have happened or not, and repeating it is harmless.

    Erased users are remembered by a keyed hash, whose random key is created with the store.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    """URL schemes of this kind of store."""

    key: bytes
    """Key of the hashes of erased users."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address, self.timeout = address, timeout

    @abstractmethod
    def append(self, events: Sequence[Event], arrived: Sequence[float] | None = None) -> int:
        """Store all events or none, and return the number of new ones: an event with a known id changes nothing.

        `arrived` gives the times of acknowledgement if these were earlier (by a journal). Such an event is skipped if its user
        has been erased since.
        """

    @abstractmethod
    def history(self, user: str, limit: int, before: float | None = None) -> list[Event]:
        """Return the newest `limit` events of a user strictly before a time, oldest first; ties in order of arrival."""

    @abstractmethod
    def erase(self, user: str, at: float | None = None) -> None:
        """Delete the events of a user and remove the user from served lists. Later events are accepted.

        `at` gives the time of the request if it was earlier (by a journal): events that arrived after it stay.
        """

    @abstractmethod
    def erased_at(self, user: str) -> float | None:
        """Return when a user was last erased, in seconds since 1970; none if never."""

    @abstractmethod
    def erased_hashes(self, beyond: int = -1) -> frozenset[bytes]:
        """Return the hashes of all users ever erased; the empty set if there are at most `beyond`."""

    @abstractmethod
    def put_items(self, changes: Sequence[ItemChange]) -> int:
        """Store item changes, all or none, and return the sequence number of the last.

        An item has one stored record: the last value of each column ever set, or its removal. Two processes may therefore set
        different columns of an item independently.

        The store assigns sequence numbers, which increase in the order in which changes become visible to others.
        """

    @abstractmethod
    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        """Return the changes after a sequence number, in order. Workers poll this method."""

    @abstractmethod
    def log_lists(self, lists: Sequence[ServedList]) -> int:
        """Store served lists, and return the number of those with a new request identifier.

        A list is stored without its user's key if the user has been erased since it was served.
        """

    @abstractmethod
    def lists_since(self, sequence: int, limit: int = 1000) -> tuple[list[ServedList], int]:
        """Return lists after a sequence number, in order of logging, and the number to continue from; no list: the end."""

    @abstractmethod
    def events_since(self, sequence: int, limit: int = 1000) -> tuple[list[Event], int]:
        """Return events after a sequence number, in order of arrival, and the number to continue from; no event: the end."""

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Count events, lists, items and erased users, which takes long for large tables."""

    @abstractmethod
    def ping(self) -> None:
        """Return if the store answers and can store writes; raise `UnavailableError` or `UserError` otherwise."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources; the store is unusable afterwards."""

    def erased(self, user: str) -> bool:
        """Return whether a user was ever erased; the user's rows in copies and logs elsewhere must be deleted, too."""
        return self.erased_at(user) is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address.shown!r})"

    def hashed(self, user: str) -> bytes:
        """Return the hash by which an erased user is remembered."""
        return blake2b(user.encode(), key=self.key, digest_size=32).digest()

    def _hashed_user(self, served: ServedList) -> bytes | None:
        """Return the hash of a list's user."""
        return None if served.user is None else self.hashed(served.user)

    def _rows(self, events: Sequence[Event], arrived: Sequence[float] | None) -> list[tuple[Any, ...]]:
        """Return id, user, item, type, time, values as JSON and arrival, plus the hash of the user if `arrived` is given."""
        now = time.time()
        arrivals: Sequence[float] = [now] * len(events) if arrived is None else arrived
        hashes = [None] * len(events) if arrived is None else [self.hashed(event.user) for event in events]
        return [
            (event.id, event.user, event.item, event.type, event.time, json.dumps(event.values, ensure_ascii=False), at, hash_)
            for event, at, hash_ in zip(events, arrivals, hashes, strict=True)
        ]

    def _unavailable(self, error: object) -> UnavailableError:
        remedy = "Check that the database is up and writable; the same call may succeed later."
        found = self.address.without_secrets(error)
        return UnavailableError(f"store {self.address.shown!r}", expected="an answer", found=found, remedy=remedy)

    def _check_schema(self, schema: int) -> None:
        if schema != SCHEMA:
            remedy = "Use the version of polyrec that wrote it." if schema > SCHEMA else "Move its content to a new store."
            thing = f"store {self.address.shown!r}"
            raise UserError(thing, expected=f"schema {SCHEMA}", found=f"schema {schema}", remedy=remedy)
