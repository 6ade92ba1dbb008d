"""A pool of connections shared by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore
from typing import Generic, Protocol, TypeVar


class _Closing(Protocol):
    def close(self) -> None: ...


Connection = TypeVar("Connection", bound=_Closing)


class Pool(Generic[Connection]):
    """Up to `size` connections, opened on demand, the most recently used first. A connection is closed if its use fails."""

    def __init__(self, connect: Callable[[], Connection], size: int, timeout: float) -> None:
        self._connect, self._timeout = connect, timeout
        self._free = Semaphore(size)
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._is_closed = False

    @contextmanager
    def __call__(self) -> Iterator[Connection]:
        """Lend a connection; raise `TimeoutError` if all stay in use longer than the timeout."""
        if not self._free.acquire(timeout=self._timeout):
            raise TimeoutError(f"all connections in use for {self._timeout:g} s")
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = self._connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            with self._lock:
                if not self._is_closed:
                    self._idle.append(connection)
                    return
            connection.close()
        finally:
            self._free.release()

    def clear(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Close all connections; those in use are closed on return."""
        with self._lock:
            self._is_closed = True
        self.clear()
