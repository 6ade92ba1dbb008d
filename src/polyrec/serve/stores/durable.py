"""`Durable`: a store with a journal that accepts events while the store is down."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from pathlib import Path
from threading import Event as Signal
from threading import Lock, Thread
from typing import TypeVar

from polyrec.core.errors import UserError
from polyrec.serve.stores.journal import Appending, Erasing, Journal, Record, Serving
from polyrec.serve.stores.journals import lists_beside, take_over
from polyrec.serve.stores.known import KnownErasures, KnownHistories
from polyrec.serve.stores.records import Event, ItemChange, ServedList
from polyrec.serve.stores.store import Store, UnavailableError
from polyrec.serve.stores.waiting_lists import WaitingLists

Answer = TypeVar("Answer")

_LOGGER = logging.getLogger(__name__)

_RECORDS = 500
"""Number of journal records replayed at once."""
_LISTS = 100
"""Number of lists replayed at once: each is as long as a hundred events."""
_SHARE = 4
"""The journal of lists may take 1/_SHARE of the journal's limit."""
_LONGEST_PAUSE = 5.0
"""Longest pause in seconds between two attempts to reach the store."""
_EVERY = 1.0
"""Interval in seconds between two polls for users erased by other processes."""


@dataclass(frozen=True)
class Receipt:
    """The outcome of acknowledged events."""

    new: int | None
    """Number of new events; none if they wait in the journal and were not compared with the store."""


@dataclass(frozen=True)
class Recalled:
    """A history, and whether it agrees with the store."""

    events: list[Event]
    is_current: bool
    """False if the store does not answer or events wait in the journal: the newest events may be missing."""


class Durable:
    """Accepts events and erasures whether or not the store answers, and loses none that it acknowledged.

    The first call that times out opens the circuit (Nygard, Release It!, 2007): from then on no call waits for the store.
    Events and erasures go to the journal, histories are the last known ones and marked as such, and all other operations raise
    `UnavailableError`. A thread reconnects, replays the journal in order and closes the circuit. While the journal is not
    empty, new records are appended to it.

    Served lists go to a separate journal, `.lists` next to the first, bounded by a quarter of its limit, and are replayed after
    it, each once. Lists without room are dropped and counted; all waiting lists are dropped if a full disk would otherwise
    refuse an event.

    Processes share a store, and each has its journal. A record carries the time of its acknowledgement, so that an erasure and
    the events around it have the same result in whatever order they reach the store. This requires synchronized clocks. Every
    process polls erased users each second and knows them while the store is down. During that time, events may be shown that
    were erased within the last second or by a repeated erasure of the same user. A process that starts without the store knows
    no erased users.

    `family` is the path of the first of several journals: records left by ended processes are taken over from these at the
    start and whenever the store is back.

    `connect` opens the store. If the store is unavailable, the server starts without it; any other `UserError` is raised.
    """

    def __init__(
        self,
        connect: Callable[[], Store],
        journal: Journal,
        users: int = 10_000,
        pause: float = 0.2,
        family: Path | None = None,
    ) -> None:
        self._connect, self._journal, self._pause, self._family = connect, journal, pause, family
        self._lists = WaitingLists(lists_beside(journal.path), journal.limit // _SHARE)
        self._store: Store | None = None
        self._is_up = False
        self._known, self._erasures = KnownHistories(users), KnownErasures()
        self._lock = Lock()
        self._erasing: dict[str, float] = {}
        for record in journal:
            self._look_ahead(record)
        self._take_over()
        self._wake, self._is_closing = Signal(), Signal()
        try:
            self._reach()
        except UnavailableError as error:
            _LOGGER.warning("%s Events wait in the journal '%s'.", error, journal.path)
        except BaseException:
            self._lists.journal.close()
            raise
        self._thread = Thread(target=self._recover, name="polyrec-recovery", daemon=True)
        self._thread.start()

    @property
    def is_up(self) -> bool:
        """Whether the store answered the last call."""
        return self._is_up

    @property
    def waiting(self) -> int:
        """Bytes of events and erasures in the journal."""
        return self._journal.size

    @property
    def waiting_lists(self) -> int:
        """Bytes of served lists in the journal of lists."""
        return self._lists.journal.size

    @property
    def dropped(self) -> int:
        """Number of served lists that were dropped for lack of room."""
        return self._lists.lost

    def append(self, events: Sequence[Event]) -> Receipt:
        """Store all events or none; see `Store.append`. Raises `UnavailableError` if store and journal both refuse them."""
        at, arrived_at = time.time(), time.monotonic()
        if self._is_up and self._journal.is_empty:
            try:
                new = self._ask(lambda store: store.append(events))
                self._known.add(events, is_stored=True, arrived_at=arrived_at)
                return Receipt(new)
            except UnavailableError:
                pass
        if events:
            self._take(Appending(at, tuple(events)))
            self._known.add(events, is_stored=False, arrived_at=arrived_at)
            self._wake.set()
        return Receipt(None)

    def history(self, user: str, limit: int, before: float | None = None) -> Recalled:
        """Return the newest events of a user; see `Store.history`."""
        queried_at, is_current = time.monotonic(), self._journal.is_empty
        if self._is_up and user not in self._erasing:
            try:
                events = self._ask(lambda store: store.history(user, limit, before))
            except UnavailableError:
                return Recalled(self._known.recall(user, limit, before), is_current=False)
            if is_current:
                if before is None:
                    self._known.learn(user, events, queried_at)
                return Recalled(events, is_current=True)
            merged = {event.id: event for event in (*events, *self._known.recall(user, limit, before))}
            return Recalled(sorted(merged.values(), key=lambda event: event.time)[-limit:], is_current=False)
        return Recalled(self._known.recall(user, limit, before), is_current=False)

    def erase(self, user: str) -> None:
        """Erase a user; see `Store.erase`. Histories omit earlier events from now on."""
        at = time.time()
        if self._is_up and self._journal.is_empty:
            try:
                self._ask(lambda store: store.erase(user))
                self._erased(user)
                return self._known.forget(user)
            except UnavailableError:
                pass
        with self._lock:
            earlier = self._erasing.get(user)
            self._erasing[user] = at
        self._known.forget(user)
        try:
            self._take(Erasing(at, user))
        except UnavailableError:
            with self._lock:
                self._erasing.pop(user)
                self._erasing |= {} if earlier is None else {user: earlier}
            raise
        self._wake.set()

    def erased_at(self, user: str) -> float | None:
        """Return when a user was last erased; see `Store.erased_at`."""
        waiting = self._erasing.get(user)
        return self._ask(lambda store: store.erased_at(user)) if waiting is None else waiting

    def is_erased(self, user: str) -> bool | None:
        """Return whether a user was ever erased; none if the store does not answer and it is unknown."""
        if user in self._erasing:
            return True
        try:
            return self.erased_at(user) is not None
        except UnavailableError:
            return None if self._store is None else self._erasures.recall(self._store.hashed(user))

    def put_items(self, changes: Sequence[ItemChange]) -> int:
        """Store item changes; see `Store.put_items`."""
        return self._ask(lambda store: store.put_items(changes))

    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        """Return item changes; see `Store.items_since`."""
        return self._ask(lambda store: store.items_since(sequence, limit))

    def log_lists(self, lists: Sequence[ServedList]) -> None:
        """Store served lists; if the store does not answer, they wait in the journal of lists as far as it has room."""
        try:
            self._ask(lambda store: store.log_lists(lists))
        except UnavailableError:
            self._lists.take(lists)
            self._wake.set()

    def counters(self) -> dict[str, int]:
        """Count the records of the store; see `Store.counters`."""
        return self._ask(lambda store: store.counters())

    def close(self) -> None:
        """Stop the recovery thread; waiting records stay in the journal for the next start."""
        self._is_closing.set()
        self._wake.set()
        self._thread.join()
        if self._store is not None:
            self._store.close()
        self._lists.journal.close()
        self._journal.close()

    def _erased(self, user: str) -> None:
        assert self._store is not None
        self._erasures.add(self._store.hashed(user))

    def _follow_erasures(self) -> None:
        """Learn which users other processes erased."""
        new = self._erasures.learn(self._ask(lambda store: store.erased_hashes(self._erasures.count)))
        if new and self._store is not None:
            hashed = self._store.hashed
            self._known.forget_where(lambda user: hashed(user) in new)

    def _take(self, record: Record) -> None:
        """Add a record to the journal; if the disk is full, drop the waiting lists to make room."""
        try:
            self._journal.add(record)
        except UnavailableError as error:
            if not isinstance(error.__cause__, OSError) or self._lists.journal.is_empty:
                raise
            self._lists.make_room()
            self._journal.add(record)

    def _ask(self, question: Callable[[Store], Answer]) -> Answer:
        if not self._is_up or self._store is None:
            remedy = "Reconnection is in progress; the same call may succeed later."
            raise UnavailableError("store", expected="an answer", found="none since its last failure", remedy=remedy)
        try:
            return question(self._store)
        except UnavailableError as error:
            if self._is_up:
                self._is_up = False
                _LOGGER.warning("%s Events wait in the journal '%s' meanwhile.", error, self._journal.path)
            self._wake.set()
            raise

    def _reach(self) -> None:
        if self._store is None:
            self._store = self._connect()
        else:
            self._store.ping()
        self._is_up = True
        self._follow_erasures()

    def _recover(self) -> None:
        pause = self._pause
        while True:
            if self._is_up and self._journal.is_empty and self._lists.journal.is_empty:
                self._wake.wait(_EVERY)
                self._wake.clear()
            if self._is_closing.is_set():
                return
            try:
                if not self._is_up:
                    self._reach()
                    _LOGGER.warning("the store answers again; %d bytes wait in the journal", self._journal.size)
                    self._take_over()
                self._replay()
                self._follow_erasures()
                pause = self._pause
            except Exception as error:
                self._is_up = False
                if not isinstance(error, UnavailableError):
                    _LOGGER.error("the store cannot be used: %s", error, exc_info=not isinstance(error, UserError))
                self._is_closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _replay(self) -> None:
        """Bring waiting records to the store in order, lists last. Records replayed again after a crash change nothing."""
        for journal, most in ((self._journal, _RECORDS), (self._lists.journal, _LISTS)):
            while not (journal.is_empty or self._is_closing.is_set()):
                records, position = journal.head(most)
                for _, group in groupby(records, key=type):
                    self._bring(list(group))
                journal.drop(position)

    def _bring(self, records: list[Record]) -> None:
        """Bring records of one type to the store; a refused record is set aside, as it would block all others."""
        assert self._store is not None
        try:
            appended = [(event, record.at) for record in records if isinstance(record, Appending) for event in record.events]
            if appended:
                self._store.append([event for event, _ in appended], [at for _, at in appended])
            for record in records:
                if isinstance(record, Erasing):
                    self._store.erase(record.user, record.at)
                    self._erased(record.user)
                    with self._lock:
                        if self._erasing.get(record.user) == record.at:
                            del self._erasing[record.user]
            if served := [record.served for record in records if isinstance(record, Serving)]:
                self._store.log_lists(served)
        except UnavailableError:
            raise
        except Exception as error:
            if len(records) > 1:
                for record in records:
                    self._bring([record])
                return
            _LOGGER.exception("the store refuses a record, which is moved to a file next to the journal", exc_info=error)
            self._journal.set_aside(records[0])

    def _look_ahead(self, record: Record) -> None:
        """Apply a record to the known histories and erasures before it reaches the store."""
        if isinstance(record, Appending):
            self._known.add(record.events, is_stored=False, arrived_at=inf)
        elif isinstance(record, Erasing):
            self._known.forget(record.user)
            with self._lock:
                self._erasing[record.user] = max(record.at, self._erasing.get(record.user, record.at))

    def _take_over(self) -> None:
        """Move records of ended processes into the journals of this one, as far as there is room."""
        if self._family is None:
            return

        def events(records: list[Record]) -> None:
            self._journal.add(*records)
            for record in records:
                self._look_ahead(record)

        def lists(records: list[Record]) -> None:
            self._lists.take([record.served for record in records if isinstance(record, Serving)])

        try:
            take_over(self._family, events, lists)
        except UnavailableError as error:
            _LOGGER.warning("records of ended processes stay in their journals: %s", error)
