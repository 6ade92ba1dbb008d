"""Counters and timings of the server in Prometheus' format.

Each worker of a server writes its metrics to a separate file in a shared folder, and any worker reports the sum over all files
(prometheus_client's multiprocess mode). The file of an ended worker is kept, so that no counter decreases; its live gauges are
removed.
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
"""Environment variable of the shared folder. prometheus_client reads it at import."""

Over = Literal["livesum", "livemin", "livemax", "sum"]
"""Aggregation of a gauge over the workers: over live ones, or over all including ended ones."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@contextmanager
def shared_metrics() -> Iterator[None]:
    """Give processes started within the block a shared, empty folder of metrics."""
    with TemporaryDirectory(prefix="polyrec-metrics-") as folder:
        os.environ[_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[_FOLDER]


class Metrics:
    """Metrics of one server, in a separate registry."""

    def __init__(self) -> None:
        self.folder = Path(os.environ[_FOLDER]) if _FOLDER in os.environ else None
        self._life = None if self.folder is None else _life(self.folder)
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("polyrec_requests", "Requests by path and status.", ["path", "status"], registry=registry)
        help_text = "Seconds from the first byte to the answer."
        self.seconds = Histogram("polyrec_request_seconds", help_text, ["path"], buckets=_BUCKETS, registry=registry)
        self.fallbacks = Counter("polyrec_fallbacks", "Fallbacks used in answers, by kind.", ["fallback"], registry=registry)
        self.events = Counter("polyrec_events", "Acknowledged events.", ["kept_in"], registry=registry)
        self.items = Counter("polyrec_item_changes", "Items added or changed.", registry=registry)
        self.lists = Counter("polyrec_lists", "Lists served, by version.", ["version"], registry=registry)
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []

    def watch(self, name: str, documentation: str, read: Callable[[], float], over: Over = "livesum") -> None:
        """Add a gauge that `read` updates regularly; `over` aggregates it over the workers."""
        gauge = Gauge(name, documentation, registry=self.registry, multiprocess_mode=over)
        self._watched.append((gauge, read))
        gauge.set(read())

    def refresh_gauges(self) -> None:
        """Update the watched gauges, which other workers report too."""
        for gauge, read in self._watched:
            gauge.set(read())

    def text(self) -> bytes:
        """Return the metrics of all workers in Prometheus' text format."""
        self.refresh_gauges()
        if self.folder is None:
            return generate_latest(self.registry)
        _forget_dead(self.folder)
        every_worker = CollectorRegistry()
        MultiProcessCollector(every_worker, str(self.folder))  # type: ignore[no-untyped-call]
        return generate_latest(every_worker)


def _life(folder: Path) -> object:
    """Return a file that stays locked until this process ends, in whatever way it ends."""
    file = (folder / f"{os.getpid()}.life").open("wb")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _forget_dead(folder: Path) -> None:
    """Remove the live gauges of ended processes: those whose file is no longer locked."""
    for path in folder.glob("*.life"):
        with path.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark_process_dead(int(path.stem), str(folder))  # type: ignore[no-untyped-call]
