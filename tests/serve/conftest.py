"""A recommender of the small world, served by the real application."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from starlette.testclient import TestClient

from polyrec import Fitted, Recommender, Training
from polyrec.serve.app import create_app
from polyrec.serve.settings import Settings

Serve = Callable[..., Any]


@pytest.fixture(scope="session")
def served(world: pl.DataFrame, small: Recommender) -> Fitted:
    spec = small.replace(training=Training(epochs=2, batch_size=256, learning_rate=0.01))
    return spec.fit(world.head(3000), progress=False)


@pytest.fixture(scope="session")
def artifact(served: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.save(tmp_path_factory.mktemp("served") / "artifact")


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return a context manager that serves a folder of models with a separate store."""

    @contextmanager
    def run(folder: Path, root_path: str = "", **settings: Any) -> Iterator[TestClient]:
        defaults = {"store": f"sqlite:///{tmp_path}/events.sqlite", "journal": tmp_path / "journal", "rate": 1e6, "burst": 1e6}
        app = create_app(folder, Settings(**(defaults | settings)))
        with TestClient(app, "http://localhost", raise_server_exceptions=False, root_path=root_path) as client:
            yield client

    return run


@pytest.fixture
def client(serve: Serve, artifact: Path) -> Iterator[TestClient]:
    with serve(artifact) as client:
        yield client


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something holds: as short as it takes, and much longer than that on a machine that is busy."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def port_that_is_free() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Process:
    """`polyrec serve` in a separate process."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        command = [sys.executable, "-m", "polyrec", "serve", str(folder), "--port", str(port), "--rate", "100000", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}"
        wait_until(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process.poll() is None
        try:
            return httpx.get(f"{self.url}/ready", timeout=1).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Return what waits until something holds, for so many seconds at most."""
    return wait_until


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    return port_that_is_free


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Return a function that starts `polyrec serve` in a separate process at a free port; all end with the test."""
    started: list[Process] = []

    def run(folder: Path, *options: str) -> Process:
        started.append(Process(folder, port_that_is_free(), *options))
        return started[-1]

    yield run
    for server in started:
        if server.process.poll() is None:
            server.end()
