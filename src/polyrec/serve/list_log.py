"""Served lists, written to the store behind the requests' backs."""

from __future__ import annotations

import logging
from queue import Empty, Full, Queue
from threading import Event as Signal
from threading import Thread

from polyrec.core.errors import UserError
from polyrec.serve.stores.records import ServedList
from polyrec.serve.stores.store import Store, Unavailable

_LOGGER = logging.getLogger(__name__)

MOST = 10_000
"""Lists that wait at most, while the store is down; later ones are counted and lost."""

TOGETHER, EVERY = 200, 0.2
"""Lists that are written at a time, and seconds until those that wait are written."""


class ListLog:
    """Writes lists in a thread of its own; requests never wait for it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.lost = 0
        self._waiting: Queue[ServedList] = Queue(MOST)
        self._ended = Signal()
        self._thread = Thread(target=self._run, name="list log", daemon=True)
        self._thread.start()

    def put(self, served: ServedList) -> None:
        """Take a list to be written."""
        try:
            self._waiting.put_nowait(served)
        except Full:
            self.lost += 1

    @property
    def waiting(self) -> int:
        """How many lists wait."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Write what waits, if the store takes it, and end."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        lists: list[ServedList] = []
        while not (self._ended.is_set() and self._waiting.empty()):
            lists += self._next(TOGETHER - len(lists))
            try:
                if lists:
                    self.store.log_lists(lists)
                lists = []
            except Unavailable:
                if self._ended.wait(1.0):
                    self.lost += len(lists) + self.waiting
                    return
            except UserError as error:
                _LOGGER.error("lists that cannot be logged: %s", error)
                self.lost += len(lists)
                lists = []

    def _next(self, most: int) -> list[ServedList]:
        """Return lists that wait, after a while for more of them to come."""
        lists: list[ServedList] = []
        if most > 0:
            self._ended.wait(EVERY)
            while len(lists) < most:
                try:
                    lists.append(self._waiting.get_nowait())
                except Empty:
                    break
        return lists
