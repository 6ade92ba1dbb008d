"""Robustness of a server: kill -9 under load, malformed requests, connections that never finish their headers.

    python benchmarks/serving_faults.py ARTIFACT --out docs/results/serving_faults.json

Each part runs `polyrec serve` in a separate process. `kill -9`: four clients send events until the process is killed, in
several rounds over one store; at the end the store must contain every acknowledged event. Garbage: random bytes, JSON of the
wrong shape and corrupted requests, sent to every path; no response may be a server error or reveal its code.
Slow headers: 200 connections send half a header and wait, while other requests are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track

from polyrec.core.files import write_text
from polyrec.serve.stores.opening import open_store

PATHS = ("/recommend", "/score", "/events", "/items", "/similar", "/explain", "/users/1", "/items/1", "/model", "/reload", "/x")
METHODS = ("POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
GOOD = (
    b'{"user": "1", "k": 5, "weights": {"like": 1.0}, "features": {"age": 30}, "rules": [{"kind": "Exclude", "items": ["1"]}]}'
)


@contextmanager
def server(artifact: Path, store: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a server while a block runs, and yield its process and address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = ["-m", "polyrec", "serve", str(artifact), "--port", str(port), "--store", store, "--rate", "1000000"]
    own = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            time.sleep(0.1)
            try:
                if httpx.get(f"{url}/ready", timeout=1).status_code == 200:
                    break
            except httpx.TransportError:
                continue
        yield own, url
    finally:
        if own.poll() is None:
            own.terminate()
        own.wait()


def kill_rounds(artifact: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Kill a server repeatedly while clients send events, and count the lost events."""
    store, acknowledged = f"sqlite:///{folder}/killed.sqlite", []

    def tell(url: str, prefix: str) -> None:
        with httpx.Client() as client:
            for number in range(10**6):
                event = {"id": f"{prefix}-{number}", "user": "1", "item": "1", "type": "view", "time": number}
                try:
                    status = client.post(f"{url}/events", json={"events": [event]}).status_code
                except httpx.TransportError:
                    return
                if status == 202:
                    acknowledged.append(event["id"])

    for turn in track(range(rounds), "kill -9", console=Console(stderr=True)):
        with server(artifact, store) as (process, url):
            threads = [threading.Thread(target=tell, args=(url, f"{turn}-{place}")) for place in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(random.Random(turn).uniform(0.2, 1.0))
            os.kill(process.pid, signal.SIGKILL)
            for thread in threads:
                thread.join()
    found, position = set(), 0
    with open_store(store) as kept:
        while True:
            events, position = kept.events_since(position)
            if not events:
                break
            found |= {event.id for event in events}
    return {"rounds": rounds, "acknowledged": len(acknowledged), "lost": len(set(acknowledged) - found), "stored": len(found)}


def garbage(artifact: Path, folder: Path, count: int) -> dict[str, Any]:
    """Send malformed requests, and count the responses by status."""
    generator, statuses, faults, leaks = random.Random(0), Counter[int](), 0, 0
    with server(artifact, f"sqlite:///{folder}/garbage.sqlite") as (_, url), httpx.Client(timeout=30) as client:
        for _ in track(range(count), "garbage", console=Console(stderr=True)):
            kind = generator.randrange(4)
            body = bytes(generator.randrange(256) for _ in range(generator.randrange(200)))
            if kind == 1:
                cut = generator.randrange(len(GOOD))
                body = GOOD[:cut] + body[:3] + GOOD[cut + generator.randrange(3) :]
            elif kind == 2:
                body = json.dumps(_value(generator, 0)).encode()
            elif kind == 3:
                told = json.loads(GOOD)
                told[generator.choice([*told, "items", "events", "where"])] = _value(generator, 0)
                body = json.dumps(told).encode()
            headers = {
                "content-type": generator.choice(["application/json", "text/plain", "x", "application/json; charset=utf-7"])
            }
            answer = client.request(generator.choice(METHODS), url + generator.choice(PATHS), content=body, headers=headers)
            statuses[answer.status_code] += 1
            faults += answer.status_code >= 500
            leaks += any(sign in answer.text for sign in ("Traceback", "site-packages", str(Path.cwd())))
        alive = client.post(f"{url}/recommend", json={"user": "1", "k": 3}).status_code
    return {"requests": count, "statuses": dict(statuses), "faults": faults, "leaks": leaks, "afterwards": alive}


def _value(generator: random.Random, depth: int) -> Any:
    """Return a random JSON value."""
    leaves = [None, True, -1, 0, 10**30, 1e308, "", "1", "é\u2028", "' OR 1=1 --", "\x00", "a" * 5000]
    if depth > 3 or generator.random() < 0.5:
        return generator.choice(leaves)
    own = [_value(generator, depth + 1) for _ in range(generator.randrange(4))]
    return (
        own
        if generator.random() < 0.5
        else {str(generator.choice(["user", "k", "id", place])): one for place, one in enumerate(own)}
    )


def slow_headers(artifact: Path, folder: Path, connections: int) -> dict[str, Any]:
    """Measure a server before and while many connections withhold the end of their headers."""

    def ask(url: str) -> list[float]:
        taken = []
        with httpx.Client() as client:
            for number in range(300):
                begun = time.perf_counter()
                assert client.post(f"{url}/recommend", json={"user": str(number % 50), "k": 10}).status_code == 200
                taken.append(1000 * (time.perf_counter() - begun))
        return taken

    with server(artifact, f"sqlite:///{folder}/slow.sqlite") as (_, url):
        port = int(url.rsplit(":", 1)[1])
        ask(url)
        before = ask(url)
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        for own in held:
            own.sendall(b"POST /recommend HTTP/1.1\r\nhost: a\r\nx-slow: ")
        during = ask(url)
        for own in held:
            own.close()
    told = {
        name: np.percentile(values, (50, 99)).round(2).tolist() for name, values in (("before", before), ("during", during))
    }
    return {"connections": connections, "p50 and p99, ms": told, "p99 ratio": told["during"][1] / told["before"][1]}


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--garbage", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--out", type=Path, default=None)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        document = {
            "slow headers": slow_headers(told.artifact, Path(name), told.connections),
            "garbage": garbage(told.artifact, Path(name), told.garbage),
            "kill -9": kill_rounds(told.artifact, Path(name), told.rounds),
        }
    Console().print(document)
    if told.out is not None:
        write_text(told.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
