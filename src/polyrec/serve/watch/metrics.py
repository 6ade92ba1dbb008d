"""What the server counts and times, as Prometheus reads it.

The workers of one server count in files of one folder, each in its own, and whichever is asked adds up those of all
(prometheus_client's multiprocess mode). The files of a worker that ended stay, so that no counter falls; what is true of a
process only while it lives is left out of the sum then.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where processes count together. prometheus_client reads it when it is imported."""

Over = Literal["livesum", "livemin", "livemax", "sum"]
"""What becomes of the numbers of several workers: of those that live, or of all that there were."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Let the processes that are started meanwhile count together, from nothing on."""
    with TemporaryDirectory(prefix="polyrec-metrics-") as folder:
        os.environ[_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[_FOLDER]


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.folder = Path(os.environ[_FOLDER]) if _FOLDER in os.environ else None
        self._life = None if self.folder is None else _life(self.folder)
        self.registry = own = CollectorRegistry()
        self.requests = Counter("polyrec_requests", "Requests by path and status.", ["path", "status"], registry=own)
        told = "Seconds from the first byte to the answer."
        self.seconds = Histogram("polyrec_request_seconds", told, ["path"], buckets=_BUCKETS, registry=own)
        self.fallbacks = Counter("polyrec_fallbacks", "Answers in which something stood in.", ["fallback"], registry=own)
        self.events = Counter("polyrec_events", "Events that were acknowledged.", ["kept_in"], registry=own)
        self.items = Counter("polyrec_item_changes", "Items that were added or changed.", registry=own)
        self.lists = Counter("polyrec_lists", "Lists that were served, by version.", ["version"], registry=own)
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []

    def watch(self, name: str, documentation: str, read: Callable[[], float], over: Over = "livesum") -> None:
        """Tell a number that is read now and again, and how those of several workers become one."""
        gauge = Gauge(name, documentation, registry=self.registry, multiprocess_mode=over)
        self._watched.append((gauge, read))
        gauge.set(read())

    def look(self) -> None:
        """Read what is watched, for the other workers to tell."""
        for gauge, read in self._watched:
            gauge.set(read())

    def text(self) -> bytes:
        """Return all of it, of all workers, in Prometheus' text format."""
        self.look()
        if self.folder is None:
            return generate_latest(self.registry)
        _forget_dead(self.folder)
        every_worker = CollectorRegistry()
        MultiProcessCollector(every_worker, str(self.folder))  # type: ignore[no-untyped-call]
        return generate_latest(every_worker)


def _life(folder: Path) -> object:
    """Return a file that is locked for as long as this process lives, however it ends."""
    file = (folder / f"{os.getpid()}.life").open("wb")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _forget_dead(folder: Path) -> None:
    """Remove the live numbers of processes that ended: those whose file nobody holds any more."""
    for path in folder.glob("*.life"):
        with path.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark_process_dead(int(path.stem), str(folder))  # type: ignore[no-untyped-call]
