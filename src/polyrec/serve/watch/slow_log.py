"""The log of slow requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)

EVERY = 1.0
"""Minimum seconds between two lines, so that logging does not slow down an overloaded server."""


class SlowLog:
    """Logs requests that take longer than `seconds`: at most one line a second, the others are counted.

    A line states method, first part of the path, status and seconds. It contains no user key and no part of a body.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self._next, self._skipped = 0.0, 0

    def take(self, method: str, path: str, status: int, seconds: float) -> None:
        """Log a request if it was slow."""
        if seconds <= self.seconds:
            return
        if self.clock() < self._next:
            self._skipped += 1
            return
        more = f"; {self._skipped} more since the last line" if self._skipped else ""
        _LOGGER.warning("slow request: %s %s took %.2f s, status %d%s", method, path, seconds, status, more)
        self._next, self._skipped = self.clock() + EVERY, 0
