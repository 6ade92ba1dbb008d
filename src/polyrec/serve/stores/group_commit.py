"""What many threads want to make durable at once, made durable together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")

_MOST = 256
"""Wishes that are committed at once at most, so that none waits long for the others."""


@dataclass(eq=False)
class _Waiting(Generic[Wish, Answer]):
    wish: Wish
    answers: list[Answer] = field(default_factory=list)
    error: BaseException | None = None
    told: Event = field(default_factory=Event)

    @property
    def is_done(self) -> bool:
        return bool(self.answers) or self.error is not None


class GroupCommit(Generic[Wish, Answer]):
    """Calls from many threads become few calls of `commit`, one at a time, in the order in which they came.

    The thread that finds nobody committing commits for all who wait, and hands the task on to the first who came meanwhile:
    one thread alone pays no hand-over, and what eight threads bring while a disk writes goes with its next write. There is no
    thread to start or to stop. `commit` takes wishes and returns an answer to each, or raises where it did nothing; then each
    wish is tried alone, so that one that cannot be done fails by itself. An error of the type `common` is no wish's own: it is
    told at once to all who wait, for none would fare better alone, and each would wait as long again.
    """

    def __init__(self, commit: Callable[[Sequence[Wish]], Sequence[Answer]], common: type[Exception] | tuple[()] = ()) -> None:
        self._commit, self._common = commit, common
        self._lock = Lock()
        self._queue: list[_Waiting[Wish, Answer]] = []
        self._is_led = False

    def __call__(self, wish: Wish) -> Answer:
        own: _Waiting[Wish, Answer] = _Waiting(wish)
        with self._lock:
            self._queue.append(own)
            leads, self._is_led = not self._is_led, True
        if not leads:
            own.told.wait()
        if not own.is_done:
            self._lead()
        if own.error is not None:
            raise own.error
        return own.answers[0]

    def _lead(self) -> None:
        """Commit for the first of the queue, own wish among them, and let one of the others lead."""
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
                told = [*group, *self._queue[:1]]
            for waiting in told:
                waiting.told.set()

    def _serve(self, group: list[_Waiting[Wish, Answer]]) -> None:
        try:
            for waiting, answer in zip(group, self._commit([waiting.wish for waiting in group]), strict=True):
                waiting.answers.append(answer)
        except BaseException as error:
            if len(group) > 1 and isinstance(error, Exception) and not isinstance(error, self._common):
                for waiting in group:
                    self._serve([waiting])
                return
            for waiting in group:
                waiting.error = error
