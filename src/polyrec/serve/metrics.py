"""What the server counts and times, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("polyrec_requests", "Requests by path and status.", ["path", "status"], registry=own)
        told = "Seconds from the first byte to the answer."
        self.seconds = Histogram("polyrec_request_seconds", told, ["path"], buckets=_BUCKETS, registry=own)
        self.fallbacks = Counter("polyrec_fallbacks", "Answers in which something stood in.", ["fallback"], registry=own)
        self.events = Counter("polyrec_events", "Events that were acknowledged.", ["kept_in"], registry=own)
        self.items = Counter("polyrec_item_changes", "Items that were added or changed.", registry=own)
        self.lists = Counter("polyrec_lists", "Lists that were served, by version.", ["version"], registry=own)

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Tell a number that is read when it is asked for."""
        Gauge(name, documentation, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)
