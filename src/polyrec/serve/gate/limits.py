"""Limits: how many requests a key may make, and how many wait at most until others are refused."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Lock
from typing import TypeVar

import anyio
import anyio.to_thread

from polyrec.serve.gate.guard import RefusedError

T = TypeVar("T")

_REMEMBERED = 10_000

HELD, MOST_HELD = 0.1, 1000
"""Seconds that a refusal takes, and refusals that are held at a time."""


class RateLimit:
    """A bucket of tokens for each caller: it fills at a rate, holds a burst, and a request takes one (a leaky bucket).

    Callers are forgotten in the order in which they last came, beyond the newest ten thousand.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, caller: str) -> None:
        """Take a token of a caller; raise `RefusedError` where there is none."""
        now = self.clock()
        with self._lock:
            left, then = self._left.pop(caller, (self.burst, now))
            left = min(self.burst, left + (now - then) * self.per_second)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
            while len(self._left) > _REMEMBERED:
                self._left.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) / self.per_second)
            error = f"requests: expected {self.per_second:g} a second at most, found more. Wait for {wait} s."
            raise RefusedError(429, error, retry_after=str(wait))


class Gate:
    """Lets so many requests work at a time in threads and so many wait; more are refused at once, and none waits long.

    What waits longer than its patience is refused too: an answer that comes too late helps nobody, and costs those behind. A
    refusal takes a moment, so that who asks again at once does not take the time of those who are answered; where a thousand
    are held, others are refused at once.
    """

    def __init__(self, working: int, waiting: int, patience: float) -> None:
        self.working, self.waiting, self.patience = working, waiting, patience
        self.limiter: anyio.CapacityLimiter | None = None
        self.inside = self.held = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run something in a thread when it is its turn."""
        async with self._turn() as limiter:
            return await anyio.to_thread.run_sync(work, limiter=limiter)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[anyio.CapacityLimiter]:
        if self.inside >= self.working + self.waiting:
            await self._hold()
            raise _busy()
        if self.limiter is None:
            self.limiter = anyio.CapacityLimiter(self.working)
            self._free = anyio.Semaphore(self.working)
        self.inside += 1
        try:
            with anyio.move_on_after(self.patience) as waited:
                await self._free.acquire()
            if waited.cancelled_caught:
                raise _busy()
            try:
                yield self.limiter
            finally:
                self._free.release()
        finally:
            self.inside -= 1

    async def _hold(self) -> None:
        """Let a moment pass, unless many are held already."""
        if self.held < MOST_HELD:
            self.held += 1
            try:
                await anyio.sleep(HELD)
            finally:
                self.held -= 1


def _busy() -> RefusedError:
    return RefusedError(503, "server: expected to be free soon, found busy. Try again in a second.", retry_after="1")
