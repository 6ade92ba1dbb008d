"""A recommender of the small world, served by the real application."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    """Return what serves a folder of models, with a store of its own, while a block runs."""

    @contextmanager
    def run(folder: Path, **settings: Any) -> Iterator[TestClient]:
        told = {"store": f"sqlite:///{tmp_path}/events.sqlite", "journal": tmp_path / "journal", "rate": 1e6, "burst": 1e6}
        app = create_app(folder, Settings(**(told | settings)))
        with TestClient(app, raise_server_exceptions=False) as client:
            yield client

    return run


@pytest.fixture
def client(serve: Serve, artifact: Path) -> Iterator[TestClient]:
    with serve(artifact) as client:
        yield client
