"""Group commit: concurrent writes of many threads become durable together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Generic, TypeVar

Write = TypeVar("Write")
Result = TypeVar("Result")

_MOST = 256
"""Largest number of writes in one commit, which bounds the wait of each."""


@dataclass(eq=False)
class _Waiting(Generic[Write, Result]):
    write: Write
    results: list[Result] = field(default_factory=list)
    error: BaseException | None = None
    signal: Event = field(default_factory=Event)

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None


class GroupCommit(Generic[Write, Result]):
    """Combines calls of many threads into few calls of `commit`, one at a time, in order of arrival.

    A thread that finds no commit in progress leads: it commits all waiting writes, then passes the lead to the first that
    arrived meanwhile. A single thread thus pays for no hand-over, and writes that arrive during a commit share the next one.
    No background thread is needed. `commit` takes writes and returns a result for each; if it raises, it must have changed
    nothing. Then each write is tried alone, so that an invalid one fails alone. An error of the type `common` concerns all
    writes: all waiting calls raise it at once, because a retry of each would fail as well, after the same wait.
    """

    def __init__(self, commit: Callable[[Sequence[Write]], Sequence[Result]], common: type[Exception] | tuple[()] = ()) -> None:
        self._commit, self._common = commit, common
        self._lock = Lock()
        self._queue: list[_Waiting[Write, Result]] = []
        self._is_led = False

    def __call__(self, write: Write) -> Result:
        waiting: _Waiting[Write, Result] = _Waiting(write)
        with self._lock:
            self._queue.append(waiting)
            leads, self._is_led = not self._is_led, True
        if not leads:
            waiting.signal.wait()
        if not waiting.is_done:
            self._lead()
        if waiting.error is not None:
            raise waiting.error
        return waiting.results[0]

    def _lead(self) -> None:
        """Commit the first writes of the queue, including that of this thread, and pass the lead to the next waiting thread."""
        with self._lock:
            group, self._queue = self._queue[:_MOST], self._queue[_MOST:]
        try:
            self._serve(group)
        finally:
            with self._lock:
                if isinstance(group[0].error, self._common):
                    for waiting in self._queue:
                        waiting.error = group[0].error
                    group, self._queue = [*group, *self._queue], []
                self._is_led = bool(self._queue)
                awakened = [*group, *self._queue[:1]]
            for waiting in awakened:
                waiting.signal.set()

    def _serve(self, group: list[_Waiting[Write, Result]]) -> None:
        try:
            for waiting, result in zip(group, self._commit([waiting.write for waiting in group]), strict=True):
                waiting.results.append(result)
        except BaseException as error:
            if len(group) > 1 and isinstance(error, Exception) and not isinstance(error, self._common):
                for waiting in group:
                    self._serve([waiting])
                return
            for waiting in group:
                waiting.error = error
