"""Requests that take long, told in the server's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two lines: an overloaded server has better to do than to write a line a request."""


class SlowLog:
    """Writes a line about a request that took longer than some seconds, a line a second at most; the others are counted.

    The line tells the method, the first part of the path, the status and the seconds: no key of a user, and nothing of a body.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self._next, self._untold = 0.0, 0

    def take(self, method: str, path: str, status: int, seconds: float) -> None:
        """Tell of a request if it was slow."""
        if seconds <= self.seconds:
            return
        if self.clock() < self._next:
            self._untold += 1
            return
        more = f"; {self._untold} more since the last line" if self._untold else ""
        _LOGGER.warning("slow request: %s %s took %.2f s, status %d%s", method, path, seconds, status, more)
        self._next, self._untold = self.clock() + EVERY, 0
