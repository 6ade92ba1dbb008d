"""The store is down, comes back, or the process is killed: nothing that was acknowledged is lost, and answers say so."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyrec import Fitted
from polyrec.serve.stores.journal import Appending, Erasing, Journal
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event

Redis = subprocess.Popen[bytes]
Start = Callable[..., Any]
Until = Callable[[Callable[[], bool]], None]


def event(name: str, user: str = "101", item: str = "12", second: float = 5000) -> dict[str, Any]:
    return {"id": name, "user": user, "item": item, "type": "rate", "time": second, "values": {"rating": 5}}


@pytest.mark.slow
def test_kill_9_loses_no_acknowledged_event(artifact: Path, tmp_path: Path, start: Start, until: Until):
    store = f"sqlite:///{tmp_path}/events.sqlite"
    acknowledged: list[str] = []
    for turn in range(3):
        server = start(artifact, "--store", store)
        stop = threading.Event()

        def tell(turn: int, thread: int, url: str = server.url, stop: threading.Event = stop) -> None:
            with httpx.Client() as client:
                for number in range(100_000):
                    name = f"{turn}-{thread}-{number}"
                    try:
                        answer = client.post(f"{url}/events", json={"events": [event(name)]})
                    except httpx.TransportError:
                        return
                    if answer.status_code == 202:
                        acknowledged.append(name)
                    if stop.is_set():
                        return

        threads = [threading.Thread(target=tell, args=(turn, thread)) for thread in range(4)]
        for thread in threads:
            thread.start()
        until(lambda turn=turn: len(acknowledged) >= 20 * (turn + 1))
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
    assert len(acknowledged) >= 60
    with open_store(store) as kept:
        stored, position = set(), 0
        while True:
            events, position = kept.events_since(position)
            if not events:
                break
            stored |= {one.id for one in events}
    assert set(acknowledged) <= stored


class TestStoreDown:
    @pytest.fixture
    def redis(self, tmp_path: Path, free_port: Callable[[], int], until: Until) -> Iterator[Callable[[], Redis]]:
        started: list[Redis] = []
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--dir", str(tmp_path), "--appendonly", "yes"]
        command += ["--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", ""]

        def start() -> Redis:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            started.append(process)

            def answers() -> bool:
                with socket.socket() as asking:
                    return asking.connect_ex(("127.0.0.1", self.port)) == 0

            until(answers)
            return process

        yield start
        for process in started:
            process.kill()
            process.wait()

    def test_lists_go_on_events_wait_and_nothing_is_lost(
        self, serve: Any, artifact: Path, redis: Callable[[], Redis], until: Until
    ):
        running = redis()
        address = f"redis://127.0.0.1:{self.port}/0"
        with serve(artifact, store=address) as client:

            def tell(name: str, **others: Any) -> dict[str, Any]:
                answer = client.post("/events", json={"events": [event(name, **others)]})
                assert answer.status_code == 202
                document: dict[str, Any] = answer.json()
                return document

            assert tell("before")["journalled"] is False
            known = client.post("/recommend", json={"user": "101", "k": 3}).json()
            running.kill()
            running.wait()
            assert tell("while down", item="19", second=5001) == {"accepted": 1, "new": None, "journalled": True}
            listed = client.post("/recommend", json={"user": "101", "k": 100}).json()
            assert listed["fallback"] == ["last known history"]
            assert not {"12", "19"} & {item["item"] for item in listed["items"]}
            assert client.get("/ready").json()["store"] == "down"
            refused = client.post("/items", json={"items": [{"item_id": 99999}]})
            assert refused.status_code == 503
            assert "password" not in refused.text
            until(lambda: "polyrec_lists_waiting 0.0" in client.get("/metrics").text)
            redis()
            until(lambda: client.get("/ready").json()["store"] == "up")
            until(lambda: client.post("/recommend", json={"user": "101", "k": 3}).json()["fallback"] == [])
            history = client.get("/users/101").json()["history"]
            assert [event["item"] for event in history if event["source"] == "live"] == ["19", "12"]
            assert known["fallback"] == []
            until(lambda: "polyrec_lists_journal_bytes 0.0" in client.get("/metrics").text)
            assert "polyrec_lists_lost 0.0" in client.get("/metrics").text
        with open_store(address) as store:
            requests = [one.request for one in store.lists_since(0)[0]]
        assert len(requests) == len(set(requests)) and {known["request"], listed["request"]} <= set(requests)

    def test_who_was_erased_stays_so(
        self, serve: Any, artifact: Path, redis: Callable[[], Redis], until: Until, served: Fitted
    ):
        running = redis()
        address = f"redis://127.0.0.1:{self.port}/0"
        impersonal = [str(item) for item in served.recommend(k=5)["item_id"]]

        def fallback(client: Any, user: str) -> list[str]:
            answer = client.post("/recommend", json={"user": user, "k": 5}).json()
            if user != "102" or "erasure not known" in answer["fallback"]:
                assert [item["item"] for item in answer["items"]] == impersonal
            names: list[str] = answer["fallback"]
            return names

        with serve(artifact, store=address) as client:
            assert client.delete("/users/101").status_code == 204
            running.kill()
            running.wait()
            assert fallback(client, "101") == ["erased user", "last known history"]
            assert fallback(client, "102") == ["last known history"]
            assert client.delete("/users/103").status_code == 204
            assert fallback(client, "103") == ["erased user", "last known history"]
            assert client.get("/users", params={"start": "10", "limit": 3}).json()["users"][:2] == ["100", "102"]
        with serve(artifact, store=address) as client:
            assert fallback(client, "101") == ["erasure not known", "last known history"]
            assert fallback(client, "102") == ["erasure not known", "last known history"]
            assert fallback(client, "103") == ["erased user", "last known history"]
            known = client.get("/users/101").json()
            assert (known["erased"], known["history"]) == (None, [])
            assert client.get("/users").json()["users"] == []
            redis()
            until(lambda: client.get("/ready").json()["store"] == "up")
            until(lambda: fallback(client, "103") == ["erased user"])
            assert fallback(client, "101") == ["erased user"] and fallback(client, "102") == []

    def test_what_more_workers_left_is_brought_by_fewer(self, serve: Any, artifact: Path, tmp_path: Path, until: Until):
        left = Journal(tmp_path / "journal-1")
        left.add(Appending(time.time(), (Event(**event("left")),)))
        left.add(Erasing(time.time(), "102"))
        left.close()
        with serve(artifact) as client:
            until(lambda: "polyrec_journal_bytes 0.0" in client.get("/metrics").text)
            assert client.get("/users/101").json()["history"][0]["source"] == "live"
            assert client.get("/users/102").json()["erased"] is True

    def test_a_server_starts_without_its_store(self, serve: Any, artifact: Path, free_port: Callable[[], int]):
        with serve(artifact, store=f"redis://127.0.0.1:{free_port()}/0") as client:
            answer = client.post("/recommend", json={"user": "101", "k": 3})
            assert answer.status_code == 200
            assert answer.json()["fallback"] == ["erasure not known", "last known history"]
            assert client.post("/events", json={"events": [event("a")]}).json()["journalled"] is True


@pytest.mark.slow
def test_workers_share_events_and_items(artifact: Path, tmp_path: Path, start: Start, until: Until):
    server = start(artifact, "--store", f"sqlite:///{tmp_path}/events.sqlite", "--workers", "2")

    def ask(path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(f"{server.url}{path}", json=body)
        assert answer.status_code in (200, 202), answer.text
        document: dict[str, Any] = answer.json()
        return document

    for number in range(20):
        best = ask("/recommend", user=f"new {number}", k=1)["items"][0]["item"]
        ask("/events", events=[event(f"{number}", user=f"new {number}", item=best)])
        assert best not in [one["item"] for one in ask("/recommend", user=f"new {number}", k=100)["items"]]
    ask("/items", items=[{"item_id": 99999}])
    until(lambda: all(httpx.get(f"{server.url}/model").json()["items"] == 61 for _ in range(10)))
