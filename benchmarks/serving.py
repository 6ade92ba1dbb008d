"""Speed of a server compared with a bare handler around the same forward pass, in one run.

    python benchmarks/serving.py --out docs/results/serving.json

Films: MovieLens-100k with the demo's declaration, the entire catalogue ranked by four tasks. Shop: 100,000 synthetic items, of
which a Retrieval task proposes 500 by an exact search, ranked by an MMoE of three tasks. `polyrec serve` serves each in one
separate process, and in two; a client in another process keeps the stated number of requests active, over as many
connections. The bare handler is Starlette around `predict`, fusion and sorting: no history, no log, no checks. Server and
client share the cores. Times are in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import platform
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table

import polyrec
from polyrec import Binary, Categorical, Fitted, History, MMoE, Numeric, Recommender, Retrieval, Tables, Training, datasets
from polyrec.core.cache import cache_folder
from polyrec.core.files import write_text
from polyrec.demo.movielens import recommender

CLIENTS = (1, 2, 4, 8, 16, 64)
ARMS: dict[str, tuple[str, ...]] = {
    "bare": (),
    "polyrec": ("--threads", "2"),
    "polyrec, 2 workers": ("--threads", "1", "--workers", "2"),
}
"""Options of the server in each arm; the bare handler works on two requests at a time."""

WARM = {"bare": 2.0, "polyrec": 2.0, "polyrec, 2 workers": 10.0}
"""Seconds of load before the first that counts: of two workers one may still be loading when the other answers."""

ITEMS, USERS, CANDIDATES = 100_000, 5_000, 500


def films() -> Fitted:
    """Fit the demo's declaration for a few epochs: only the speed matters, not the quality."""
    spec = recommender()
    table = datasets.load("movielens-100k").table()
    return spec.replace(training=spec.training.replace(epochs=2)).fit(table, progress=False)


def shop() -> Fitted:
    """Fit a large catalogue of random data."""
    generator = np.random.default_rng(0)
    item = np.concatenate([np.arange(ITEMS), generator.zipf(1.3, ITEMS) % ITEMS])
    rows = len(item)
    table = pl.DataFrame(
        {
            "user_id": generator.integers(USERS, size=rows),
            "item_id": item,
            "timestamp": np.arange(rows),
            "click": generator.random(rows) < 0.3,
            "buy": generator.random(rows) < 0.1,
            "age": generator.integers(18, 80, rows),
        }
    )
    items = pl.DataFrame(
        {"item_id": np.arange(ITEMS), "category": generator.integers(50, size=ITEMS), "price": generator.exponential(20, ITEMS)}
    )
    spec = Recommender(
        user=(
            Categorical(name="user_id", width=32),
            Numeric(name="age", width=32),
            History(name="met", of="item_id", length=20, width=32),
        ),
        item=(
            Categorical(name="item_id", width=32),
            Categorical(name="category", width=32),
            Numeric(name="price", width=32),
        ),
        tasks=(
            Binary(name="clicked", label="click"),
            Binary(name="bought", label="buy"),
            Retrieval(name="next", label="click", width=64),
        ),
        network=MMoE(experts=4, hidden=(64,)),
        candidates=CANDIDATES,
        training=Training(epochs=1, batch_size=4096),
    )
    return spec.fit(Tables(table, items=items), progress=False)


@dataclass
class Load:
    """Statuses and times that a client measured."""

    clients: int
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return requests per second and percentiles of the response times with status 200."""
        p50, p95, p99 = np.percentile(self.milliseconds, (50, 95, 99)).tolist() if self.milliseconds else (None,) * 3
        answered = len(self.milliseconds) / self.seconds
        return {
            "clients": self.clients,
            "requests_per_second": answered,
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "statuses": dict(self.statuses),
        }


class Connection:
    """A persistent connection with one request at a time."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of the response."""
        if not hasattr(self, "reader"):
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        told = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(told.split(b" ", 2)[1]), await self.reader.readexactly(length)


async def load(port: int, clients: int, seconds: float, body: Callable[[int], bytes]) -> Load:
    """Send requests repeatedly over some connections for the given seconds."""
    found, numbers = Load(clients, seconds), itertools.count()

    async def one() -> None:
        connection, end = Connection(port), time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            status, _ = await connection.post("/recommend", body(next(numbers)))
            found.statuses[status] += 1
            if status == 200:
                found.milliseconds.append(1000 * (time.perf_counter() - begun))

    await asyncio.gather(*(one() for _ in range(clients)))
    return found


async def events(port: int, seconds: float, users: int, items: int) -> dict[str, Any]:
    """Send 100 events and 20 requests a second; measure the time from an event to the next list that reflects it."""
    reaction: list[float] = []
    wrong = 0

    async def tell(connection: Connection, user: int, item: str) -> None:
        event = {"id": uuid.uuid4().hex, "user": str(user), "item": item, "type": "view", "time": time.time()}
        status, _ = await connection.post("/events", json.dumps({"events": [event]}).encode())
        assert status == 202, status

    async def every(period: float, work: Callable[[int], Any]) -> None:
        begun = time.perf_counter()
        for number in range(int(seconds / period)):
            await asyncio.sleep(max(begun + number * period - time.perf_counter(), 0))
            await work(number)

    background = [Connection(port) for _ in range(2)]
    asking = Connection(port)
    generator = np.random.default_rng(0)

    async def noise(number: int) -> None:
        await tell(background[number % 2], int(generator.integers(users)), str(generator.integers(1, items)))

    async def react(number: int) -> None:
        nonlocal wrong
        user = users + number
        _, answer = await asking.post("/recommend", json.dumps({"user": str(user), "k": 10}).encode())
        best = json.loads(answer)["items"][0]["item"]
        begun = time.perf_counter()
        await tell(asking, user, best)
        _, answer = await asking.post("/recommend", json.dumps({"user": str(user), "k": 10}).encode())
        reaction.append(1000 * (time.perf_counter() - begun))
        wrong += best in [own["item"] for own in json.loads(answer)["items"]]

    await asyncio.gather(every(0.0111, noise), every(0.1, react))
    p50, p95, p99 = np.percentile(reaction, (50, 95, 99)).tolist()
    return {"events": len(reaction), "p50": p50, "p95": p95, "p99": p99, "lists that did not change": wrong}


@contextmanager
def process(command: list[str], port: int) -> Iterator[None]:
    """Run a server while a block runs."""
    own = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            time.sleep(0.1)
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield
    finally:
        own.terminate()
        own.wait()


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def bare(folder: Path, port: int) -> None:
    """Serve only the forward pass, fusion and sorting."""
    import anyio.to_thread
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    torch.set_num_threads(1)
    fitted = polyrec.load(folder)
    rows = torch.arange(min(fitted.items.height, fitted.spec.candidates or fitted.items.height))
    keys = fitted.items[fitted.item_key].cast(pl.String).to_list()
    limiter: list[Any] = []

    def answer(user: str) -> list[dict[str, Any]]:
        scores = fitted.fused(fitted.catalogue.predict({fitted.user_key: user}, rows))
        best = torch.argsort(scores, descending=True, stable=True)[:10].tolist()
        return [{"item": keys[place], "score": float(scores[place])} for place in best]

    async def recommend(request: Request) -> JSONResponse:
        if not limiter:
            limiter.append(anyio.CapacityLimiter(2))
        told = await request.json()
        return JSONResponse({"items": await anyio.to_thread.run_sync(answer, told["user"], limiter=limiter[0])})

    answer("1")
    uvicorn.run(Starlette(routes=[Route("/recommend", recommend, methods=["POST"])]), port=port, log_level="warning")


def forward(fitted: Fitted, users: int) -> float:
    """Return the median milliseconds of a forward pass, fusion included."""
    rows = torch.arange(min(fitted.items.height, fitted.spec.candidates or fitted.items.height))
    taken = []
    for user in range(200):
        begun = time.perf_counter()
        fitted.fused(fitted.catalogue.predict({fitted.user_key: str(user % users)}, rows))
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken[20:])


def onnx(fitted: Fitted, folder: Path) -> dict[str, float]:
    """Return the median milliseconds of the complete model on ONNX Runtime, and the largest difference to torch."""
    import onnxruntime

    path = fitted.export(folder / "model.onnx")
    rows = min(fitted.items.height, fitted.spec.candidates or fitted.items.height)
    frame = fitted.items.head(rows).with_columns(pl.lit(1, pl.Int64).alias(fitted.user_key))
    columns = fitted.parts.frames.columns.columns
    missing = [name for name in columns if name not in frame.columns and name != fitted.roles.time]
    kinds = fitted.parts.frames.columns.schema
    frame = frame.with_columns(pl.lit(None, kinds[name]).alias(name) for name in missing)
    inputs = fitted.encode(frame)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    names = [port.name for port in session.get_outputs()]
    taken = []
    for _ in range(100):
        begun = time.perf_counter()
        found = dict(zip(names, session.run(None, inputs), strict=True))
        taken.append(1000 * (time.perf_counter() - begun))
    expected = fitted.predict(frame)["score"].to_numpy()
    return {"milliseconds": statistics.median(taken[10:]), "difference": float(np.abs(found["score"] - expected).max())}


def measure(name: str, make: Callable[[], Fitted], work: Path, seconds: float, users: int) -> dict[str, Any]:
    """Fit or load a model, and measure it served and bare."""
    folder = work / name / "artifact"
    fitted = polyrec.load(folder) if folder.is_dir() else make()
    if not folder.is_dir():
        fitted.save(folder)
    told: dict[str, Any] = {"items": fitted.items.height, "forward pass alone, ms": forward(fitted, users)}
    told["ONNX Runtime, whole model, ms"] = onnx(fitted, folder.parent)
    for arm in ARMS:
        port, store = free_port(), folder.parent / f"{uuid.uuid4().hex}.sqlite"
        own = [__file__, "--bare", str(folder), "--port", str(port)]
        serve = ["-m", "polyrec", "serve", str(folder), "--port", str(port), "--rate", "1000000", *ARMS[arm]]
        with process(own if arm == "bare" else [*serve, "--store", f"sqlite:///{store}"], port):
            asyncio.run(load(port, 4, WARM[arm], lambda number: _body(number, users)))
            runs = (load(port, clients, seconds, lambda number: _body(number, users)) for clients in CLIENTS)
            told[arm] = [asyncio.run(run).told() for run in runs]
            if arm == "polyrec":
                told["event to list, ms"] = asyncio.run(events(port, 2 * seconds, users, fitted.items.height))
    return told


def _body(number: int, users: int) -> bytes:
    return json.dumps({"user": str(1 + number * 7919 % users), "k": 10}).encode()


def main() -> None:
    """Measure both catalogues."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bare", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of each load")
    parser.add_argument("--only", default="", help="films or shop")
    parser.add_argument("--work", type=Path, default=cache_folder() / "benchmarks" / "serving")
    parser.add_argument("--out", type=Path, default=None)
    told = parser.parse_args()
    if told.bare is not None:
        bare(told.bare, told.port)
        return
    torch.set_num_threads(1)
    document: dict[str, Any] = {"polyrec": polyrec.__version__, "python": platform.python_version(), "seconds": told.seconds}
    for name, make, users in (("films", films, 943), ("shop", shop, USERS)):
        if told.only in name:
            document[name] = measure(name, make, told.work, told.seconds, users)
            show(name, document[name])
    if told.out is not None:
        write_text(told.out, json.dumps(document, indent=1) + "\n")


def show(name: str, told: dict[str, Any]) -> None:
    """Print the measurements of a catalogue."""
    table = Table(title=f"{name}: {told['items']:,} items, forward pass alone {told['forward pass alone, ms']:.1f} ms")
    for column in ("arm", "clients", "requests/s", "p50", "p95", "p99", "statuses"):
        table.add_column(column, justify="right")
    for arm in ARMS:
        for own in told[arm]:
            times = [f"{own[name]:.1f}" if own[name] is not None else "" for name in ("p50", "p95", "p99")]
            table.add_row(arm, str(own["clients"]), f"{own['requests_per_second']:.0f}", *times, str(own["statuses"]))
    Console(width=120).print(table, told["event to list, ms"], told["ONNX Runtime, whole model, ms"])


if __name__ == "__main__":
    main()
