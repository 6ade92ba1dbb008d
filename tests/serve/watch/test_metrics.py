"""One scrape tells the counts of all workers of a server, of those that were killed too."""

import os
import signal
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from starlette.testclient import TestClient

PATIENCE = 60
"""Seconds that a request may take on a machine that is busy."""


def total(samples: Iterable[Sample], name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have the labels."""
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def of_text(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def scraped(url: str) -> list[Sample]:
    answer = httpx.get(f"{url}/metrics", timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return of_text(answer.text)


def lists(samples: Iterable[Sample]) -> float:
    return total(samples, "polyrec_requests_total", path="/recommend", status="200")


def counted_by(folder: Path) -> dict[int, float]:
    """Return the lists that each process counted, by its id."""
    counts = {}
    for path in folder.glob("counter_*.db"):
        families = MultiProcessCollector.merge([str(path)])
        counts[int(path.stem.split("_")[1])] = lists(sample for family in families for sample in family.samples)
    return counts


@pytest.mark.slow
class TestWorkers:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, artifact: Path, start: Callable[..., Any]) -> Any:
        (tmp_path / "temporary").mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
        return start(artifact, "--store", f"sqlite:///{tmp_path}/events.sqlite", "--workers", "2")

    def test_are_counted_together(self, server: Any, tmp_path: Path, until: Callable[..., None]):
        (folder,) = (tmp_path / "temporary").glob("polyrec-metrics-*")
        sent = 0

        def ask(most: int = 1) -> None:
            nonlocal sent
            for _ in range(most):
                answer = httpx.post(f"{server.url}/recommend", json={"user": "101", "k": 2}, timeout=PATIENCE)
                assert answer.status_code == 200
                sent += 1

        def both_answered() -> bool:
            ask(10)
            return sum(count > 0 for count in counted_by(folder).values()) == 2

        def all_are_told() -> bool:
            assert lists(scraped(server.url)) <= sent
            return lists(scraped(server.url)) == sent

        until(both_answered)
        until(all_are_told)
        samples = scraped(server.url)
        assert total(samples, "polyrec_lists_total") == sent
        assert total(samples, "polyrec_store_up") == 1
        buckets = [sample for sample in samples if sample.name == "polyrec_request_seconds_bucket"]
        buckets = [sample for sample in buckets if sample.labels["path"] == "/recommend"]
        assert (buckets[-1].labels["le"], buckets[-1].value) == ("+Inf", sent)
        assert all(one.value <= other.value for one, other in pairwise(buckets))

        killed, count = counted_by(folder).popitem()
        assert count > 0
        assert list(folder.glob(f"gauge_live*_{killed}.db"))
        os.kill(killed, signal.SIGKILL)

        def is_replaced() -> bool:
            """One that is killed while its supervisor waits for its sign of life is missed 30 seconds later."""
            try:
                assert lists(scraped(server.url)) == sent
            except httpx.TransportError:  # It was with the worker that was killed.
                return False
            return len(list(folder.glob("gauge_livesum_*.db"))) == 2 and not list(folder.glob(f"gauge_live*_{killed}.db"))

        until(is_replaced)
        ask(10)
        until(all_are_told)
        server.end()
        assert not folder.exists()


def test_one_worker_tells_its_own_numbers(client: TestClient):
    for _ in range(3):
        assert client.post("/recommend", json={"user": "nobody"}).status_code == 200
    samples = of_text(client.get("/metrics").text)
    assert lists(samples) == total(samples, "polyrec_fallbacks_total", fallback="unknown user") == 3
    assert total(samples, "polyrec_store_up") == 1
