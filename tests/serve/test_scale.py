"""Two replicas on Ray Serve over one store, started by Ray's command line: what they answer, and that one may be killed."""

import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from polyrec import Fitted, UserError
from polyrec.serve.scale import Scale, app
from polyrec.serve.stores.opening import open_store

Until = Callable[..., None]


@dataclass(frozen=True)
class Cluster:
    """What runs on Ray: its address, its name there, its store."""

    url: str
    name: str
    store: str

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}{path}", json=body, timeout=30)
        assert answer.status_code in (200, 202), answer.text
        document: dict[str, Any] = answer.json()
        return document

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    def lists(self) -> float:
        """Return how many lists the replica made that answers now."""
        families = text_string_to_metric_families(httpx.get(f"{self.url}/metrics", timeout=30).text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == "polyrec_lists_total")

    def replicas(self) -> set[int]:
        """Return the processes of the replicas."""
        title = f"ray::ServeReplica:{self.name}:polyrec".encode()
        return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _title(path).startswith(title)}


def _title(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def cluster(artifact: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Any, until: Any) -> Iterator[Cluster]:
    folder, port, name = tmp_path_factory.mktemp("scale"), free_port(), f"tests-{secrets.token_hex(4)}"
    store = f"sqlite:///{folder}/events.sqlite"
    command = [sys.executable, str(Path(__file__).with_name("ray_cluster.py")), str(port), "--name", name]
    command += ["polyrec.serve.scale:app", f"folder={artifact}", f"store={store}", f"journal={folder}/journal"]
    command += ["host=127.0.0.1", "threads=1", "rate=100000", "burst=100000", "replicas=2"]
    variables = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    cluster = Cluster(f"http://127.0.0.1:{port}", name, store)
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log) as process,
    ):

        def is_ready() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            return len(cluster.replicas()) == 2 and cluster.answers()

        try:
            until(is_ready, 120)
            yield cluster
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
    assert not list(folder.glob("events.sqlite-*"))  # SQLite removes them when the last process has closed the store.


@pytest.mark.slow
class TestReplicas:
    def test_answer_as_offline_and_share_the_requests(self, cluster: Cluster, served: Fitted):
        generator, count = random.Random(0), 101
        for _ in range(count):
            user, k = generator.choice([*range(100, 180), 7]), generator.randint(1, 70)
            answer, expected = cluster.ask("/recommend", user=str(user), k=k), served.recommend(user_id=user, k=k)
            assert [item["item"] for item in answer["items"]] == expected["item_id"].cast(pl.String).to_list()
            assert [item["score"] for item in answer["items"]] == expected["score"].to_list()
        # Both together made an odd number of lists, so that no two counts are equal.
        one, other = sorted({cluster.lists() for _ in range(30)})
        assert one > 0 and one + other == count

    def test_know_of_an_event_whichever_was_told(self, cluster: Cluster, served: Fitted):
        met = served.recommend(user_id=-5, k=1)["item_id"].item()
        event = {"id": "a", "user": "-5", "item": str(met), "type": "rate", "time": 5000, "values": {"rating": 5}}
        cluster.ask("/events", events=[event])
        events = pl.DataFrame({"item_id": [met], "rating": [5], "timestamp": [5000]})
        expected = served.recommend(user_id=-5, k=10, events=events)
        while len(before := {cluster.lists() for _ in range(30)}) < 2 or sum(before) % 2 == 0:
            cluster.ask("/recommend", user="100", k=1)  # an odd sum of two counts stays one of two counts
        for _ in range(30):
            answer = cluster.ask("/recommend", user="-5", k=10)
            assert [item["score"] for item in answer["items"]] == expected["score"].to_list()
        after = {cluster.lists() for _ in range(30)}
        assert sum(after) == sum(before) + 30
        one, other = before
        assert after not in ({one + 30, other}, {one, other + 30}), "one of the replicas answered none of the thirty"

    def test_one_may_be_killed(self, cluster: Cluster, until: Until):
        acknowledged: list[str] = []
        stop = threading.Event()

        def tell(thread: int) -> None:
            with httpx.Client(timeout=30) as client:
                for number in range(100_000):
                    event = {"id": f"{thread}-{number}", "user": f"{thread}", "item": "5", "type": "rate", "time": number}
                    answer = client.post(f"{cluster.url}/events", json={"events": [event | {"values": {"rating": 5}}]})
                    if answer.status_code == 202:
                        acknowledged.append(event["id"])
                    if stop.is_set():
                        return

        threads = [threading.Thread(target=tell, args=(thread,)) for thread in range(3)]
        for thread in threads:
            thread.start()
        before = cluster.replicas()
        until(lambda: len(acknowledged) > 30)
        os.kill(min(before), signal.SIGKILL)
        at_kill = len(acknowledged)
        until(lambda: len(acknowledged) > at_kill + 30)
        assert max(before) in cluster.replicas()
        until(lambda: len(cluster.replicas()) == 2, 60)
        stop.set()
        for thread in threads:
            thread.join()
        until(lambda: len({cluster.lists() for _ in range(10)}) == 2, 60)
        with open_store(cluster.store) as store:
            kept = {event.id for thread in range(3) for event in store.history(f"{thread}", len(acknowledged) + 10)}
        assert set(acknowledged) <= kept


class TestScale:
    def test_wants_keys_where_others_can_ask(self, artifact: Path):
        with pytest.raises(UserError, match="as other machines have access"):
            app(Scale(folder=artifact))

    def test_wants_models(self, tmp_path: Path):
        with pytest.raises(UserError, match="expected an artifact or published models"):
            app(Scale(folder=tmp_path, host="127.0.0.1"))

    def test_refuses_what_it_does_not_know(self, artifact: Path):
        with pytest.raises(ValidationError, match="Did you mean 'replicas'"):
            Scale(folder=artifact, replica=3)

    def test_keeps_state_where_the_command_does(self, artifact: Path):
        settings, state = Scale(folder=artifact), artifact.parent / "artifact-state"
        assert (settings.store, settings.journal) == (f"sqlite:///{state}/events.sqlite", state / "journal")


def test_without_ray_the_extra_is_named(artifact: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError) as refused:
        app(Scale(folder=artifact, host="127.0.0.1"))
    assert str(refused.value).endswith("a server on Ray needs the package 'ray[serve]': pip install 'polyrec[scale]'")
