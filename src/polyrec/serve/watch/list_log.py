"""Served lists, written to the store in the background."""

from __future__ import annotations

import logging
from queue import Empty, Full, Queue
from threading import Event as Signal
from threading import Thread

from polyrec.core.errors import UserError
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.records import ServedList

_LOGGER = logging.getLogger(__name__)

MOST = 10_000
"""Largest number of waiting lists; later ones are counted and dropped."""

TOGETHER, EVERY = 200, 0.2
"""Largest number of lists in one write, and seconds between two writes."""


class ListLog:
    """Writes lists in a separate thread; requests never wait for it."""

    def __init__(self, store: Durable) -> None:
        self.store = store
        self._lost = 0
        self._waiting: Queue[ServedList] = Queue(MOST)
        self._ended = Signal()
        self._thread = Thread(target=self._run, name="list log", daemon=True)
        self._thread.start()

    def put(self, served: ServedList) -> None:
        """Queue a list for writing."""
        try:
            self._waiting.put_nowait(served)
        except Full:
            self._lost += 1

    @property
    def waiting(self) -> int:
        """Number of waiting lists."""
        return self._waiting.qsize()

    @property
    def lost(self) -> int:
        """Number of lists that were not logged, because the queue or the journal of lists was full or a write failed."""
        return self._lost + self.store.dropped

    def close(self) -> None:
        """Write the waiting lists and stop the thread."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not (self._ended.is_set() and self._waiting.empty()):
            lists = self._next()
            try:
                if lists:
                    self.store.log_lists(lists)
            except Exception as error:
                _LOGGER.error("lists cannot be logged: %s", error, exc_info=not isinstance(error, UserError))
                self._lost += len(lists)

    def _next(self) -> list[ServedList]:
        """Return the waiting lists, after a pause in which more can arrive."""
        lists: list[ServedList] = []
        self._ended.wait(EVERY)
        while len(lists) < TOGETHER:
            try:
                lists.append(self._waiting.get_nowait())
            except Empty:
                break
        return lists
