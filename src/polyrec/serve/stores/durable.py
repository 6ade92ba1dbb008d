"""`Durable`: a store and a journal, so that events are taken while the store is down."""

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
"""Records of the journal that are replayed at once."""
_LISTS = 100
"""Lists of their journal that are replayed at once: each is as long as a hundred events."""
_SHARE = 4
"""What part of the journal's limit the lists beside it may take: one in so many bytes."""
_LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach a store, at most."""
_EVERY = 1.0
"""Seconds between two looks for users whom other processes erased."""


@dataclass(frozen=True)
class Receipt:
    """What became of events that were acknowledged."""

    new: int | None
    """How many of them were new; none where they wait in the journal, which nobody compares with the store."""


@dataclass(frozen=True)
class Recalled:
    """A history, and whether it is what the store would say."""

    events: list[Event]
    is_current: bool
    """False where the store cannot be asked, or events wait in the journal: the newest events may be missing."""


class Durable:
    """Takes events and erasures whether or not the store answers, and loses none that was acknowledged.

    The first call that the store does not answer in time opens the circuit (Nygard, Release It!, 2007): from then on nothing
    waits for it. Events and erasures go to the journal, histories are the last known ones and say so, and what only the store
    can do raises `UnavailableError`. A thread tries to reach the store, replays the journal in its order and closes the
    circuit. As long as anything waits in the journal, what comes queues up behind it.

    Lists that were served go to a journal of their own, `.lists` beside it, bounded by a quarter of its limit, and are replayed
    after it, each once. Those for which there is no room are dropped and counted; all that wait are, where a full disk would
    refuse an event.

    Processes share a store, each with a journal of its own; what waits in one bears the time of its acknowledgement, so that an
    erasure and the events before and after it come out right whichever reaches the store first. The clocks of the machines must
    agree for that. Whom others erased is asked every second and known while the store is down; what an erasure of the last
    second, or a user's second one, should have taken may be shown then. Who starts without the store does not know.

    Where `family` is given, the path of the first of several journals, what processes that ended left in theirs is taken over
    at the start and whenever the store is back.

    `connect` opens the store. Where it cannot be reached, the server starts without it; any other `UserError` is raised.
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
        """Whether the store answered last."""
        return self._is_up

    @property
    def waiting(self) -> int:
        """Bytes of events and erasures that wait in the journal."""
        return self._journal.size

    @property
    def waiting_lists(self) -> int:
        """Bytes of served lists that wait in theirs."""
        return self._lists.journal.size

    @property
    def dropped(self) -> int:
        """Lists that were served and could neither be logged nor wait."""
        return self._lists.lost

    def append(self, events: Sequence[Event]) -> Receipt:
        """Keep all events or none; see `Store.append`. Raises `UnavailableError` where the journal takes no more either."""
        at, came = time.time(), time.monotonic()
        if self._is_up and self._journal.is_empty:
            try:
                new = self._ask(lambda store: store.append(events))
                self._known.add(events, is_known_elsewhere=True, came=came)
                return Receipt(new)
            except UnavailableError:
                pass
        if events:
            self._take(Appending(at, tuple(events)))
            self._known.add(events, is_known_elsewhere=False, came=came)
            self._wake.set()
        return Receipt(None)

    def history(self, user: str, limit: int, before: float | None = None) -> Recalled:
        """Return the newest events of a user; see `Store.history`."""
        asked, is_current = time.monotonic(), self._journal.is_empty
        if self._is_up and user not in self._erasing:
            try:
                events = self._ask(lambda store: store.history(user, limit, before))
            except UnavailableError:
                return Recalled(self._known.recall(user, limit, before), is_current=False)
            if is_current:
                if before is None:
                    self._known.learn(user, events, asked)
                return Recalled(events, is_current=True)
            both = {event.id: event for event in (*events, *self._known.recall(user, limit, before))}
            return Recalled(sorted(both.values(), key=lambda event: event.time)[-limit:], is_current=False)
        return Recalled(self._known.recall(user, limit, before), is_current=False)

    def erase(self, user: str) -> None:
        """Erase a user; see `Store.erase`. From here on no history shows what was before."""
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
        """Return whether a user was ever erased; none where the store does not answer and nothing is known of it."""
        if user in self._erasing:
            return True
        try:
            return self.erased_at(user) is not None
        except UnavailableError:
            return None if self._store is None else self._erasures.recall(self._store.hashed(user))

    def put_items(self, changes: Sequence[ItemChange]) -> int:
        """Store changes of items; see `Store.put_items`."""
        return self._ask(lambda store: store.put_items(changes))

    def items_since(self, sequence: int, limit: int = 1000) -> list[ItemChange]:
        """Return changes of items; see `Store.items_since`."""
        return self._ask(lambda store: store.items_since(sequence, limit))

    def log_lists(self, lists: Sequence[ServedList]) -> None:
        """Keep lists that were served; where the store does not answer they wait, as far as there is room for them."""
        try:
            self._ask(lambda store: store.log_lists(lists))
        except UnavailableError:
            self._lists.take(lists)
            self._wake.set()

    def counters(self) -> dict[str, int]:
        """Count what is in the store; see `Store.counters`."""
        return self._ask(lambda store: store.counters())

    def close(self) -> None:
        """Stop recovering; what waits in the journal stays there for the next start."""
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
        """Know of users whom other processes erased."""
        new = self._erasures.learn(self._ask(lambda store: store.erased_hashes(self._erasures.count)))
        if new and self._store is not None:
            hashed = self._store.hashed
            self._known.forget_where(lambda user: hashed(user) in new)

    def _take(self, record: Record) -> None:
        """Add a record to the journal; where the disk has no room for it, lists that wait make room."""
        try:
            self._journal.add(record)
        except UnavailableError as error:
            if not isinstance(error.__cause__, OSError) or self._lists.journal.is_empty:
                raise
            self._lists.make_room()
            self._journal.add(record)

    def _ask(self, question: Callable[[Store], Answer]) -> Answer:
        if not self._is_up or self._store is None:
            remedy = "It is being reached again; the same call may succeed later."
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
        """Bring what waits to the store, in order, lists last. Records that a crash brings back change nothing there."""
        for journal, most in ((self._journal, _RECORDS), (self._lists.journal, _LISTS)):
            while not (journal.is_empty or self._is_closing.is_set()):
                records, position = journal.head(most)
                for _, group in groupby(records, key=type):
                    self._bring(list(group))
                journal.drop(position)

    def _bring(self, records: list[Record]) -> None:
        """Bring records of one type to the store; one that it refuses is set aside, for it would hold up all others."""
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
            _LOGGER.exception("the store refuses a record, which is set aside beside the journal", exc_info=error)
            self._journal.set_aside(records[0])

    def _look_ahead(self, record: Record) -> None:
        """Know what a record says before it is in the store."""
        if isinstance(record, Appending):
            self._known.add(record.events, is_known_elsewhere=False, came=inf)
        elif isinstance(record, Erasing):
            self._known.forget(record.user)
            with self._lock:
                self._erasing[record.user] = max(record.at, self._erasing.get(record.user, record.at))

    def _take_over(self) -> None:
        """Take what processes that ended left in their journals into the own ones, as far as there is room."""
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
            _LOGGER.warning("what other processes left stays where it is: %s", error)
