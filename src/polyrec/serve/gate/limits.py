"""Rate limits of keys, and limits of concurrent and waiting requests."""

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
"""Delay of a refusal in seconds, and largest number of refusals delayed at a time."""


class RateLimit:
    """A token bucket per caller: it refills at `per_second`, holds at most `burst` tokens, and a request takes one.

    The ten thousand most recent callers are kept.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, caller: str) -> None:
        """Take a token of a caller; raise `RefusedError` if none is left."""
        now = self.clock()
        with self._lock:
            left, then = self._left.pop(caller, (self.burst, now))
            left = min(self.burst, left + (now - then) * self.per_second)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
            while len(self._left) > _REMEMBERED:
                self._left.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) / self.per_second)
            error = f"requests: expected at most {self.per_second:g} per second, found more. Wait for {wait} s."
            raise RefusedError(429, error, retry_after=str(wait))


class Gate:
    """Runs at most `working` requests in threads and queues at most `waiting` more; the rest are refused.

    A request that waits longer than `patience` seconds is refused too: a late answer is useless and delays the requests behind
    it. Each refusal is delayed a little, so that immediate retries take no time from accepted requests. While a thousand
    refusals are being delayed, further ones are immediate.
    """

    def __init__(self, working: int, waiting: int, patience: float) -> None:
        self.working, self.waiting, self.patience = working, waiting, patience
        self.limiter: anyio.CapacityLimiter | None = None
        self.inside = self.held = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread as soon as one is free."""
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
        """Delay a refusal, unless too many are being delayed."""
        if self.held < MOST_HELD:
            self.held += 1
            try:
                await anyio.sleep(HELD)
            finally:
                self.held -= 1


def _busy() -> RefusedError:
    return RefusedError(503, "server: expected a free thread, found all busy. Try again in a second.", retry_after="1")
