"""The application of one worker process, which is told what to serve by its environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from fastapi import FastAPI

from polyrec.serve.app import create_app
from polyrec.serve.settings import Settings

_VARIABLE = "POLYREC_SERVE"


def tell_workers(folder: Path, settings: Settings) -> None:
    """Tell the processes that are started from this one what to serve."""
    os.environ[_VARIABLE] = json.dumps({"folder": str(folder), "settings": settings.model_dump(mode="json")})


def app() -> FastAPI:
    """Return the application that this process was told of."""
    told = json.loads(os.environ[_VARIABLE])
    return app_of_worker(Path(told["folder"]), Settings(**told["settings"]))


def app_of_worker(folder: Path, settings: Settings) -> FastAPI:
    """Return the application of a process that does nothing else.

    Each request takes one core: threads of torch would stand in each other's way.
    """
    torch.set_num_threads(1)
    return create_app(folder, settings)
