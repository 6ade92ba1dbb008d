"""Served lists that wait on the disk until the store is back, within a limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from polyrec.serve.stores.journal import Journal, Serving
from polyrec.serve.stores.records import ServedList
from polyrec.serve.stores.store import UnavailableError


class WaitingLists:
    """A journal of lists only. Lists without room are counted and dropped."""

    def __init__(self, path: Path, limit: int) -> None:
        self.journal = Journal(path, limit)
        self._lost = 0
        self._lock = Lock()

    @property
    def lost(self) -> int:
        """Number of lists dropped for lack of room."""
        return self._lost

    def take(self, lists: Sequence[ServedList]) -> None:
        """Store lists, as many as there is room for."""
        try:
            self.journal.add(*map(Serving, lists))
        except UnavailableError:
            if len(lists) == 1:
                return self._lose(1)
            self.take(lists[: len(lists) // 2])
            self.take(lists[len(lists) // 2 :])

    def make_room(self) -> None:
        """Drop all lists to free disk space for more important records."""
        self._lose(self.journal.clear())

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count
