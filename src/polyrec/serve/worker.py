"""The application of one worker process, configured by an environment variable."""

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
    """Pass the folder and the settings to the child processes of this one."""
    os.environ[_VARIABLE] = json.dumps({"folder": str(folder), "settings": settings.model_dump(mode="json")})


def app() -> FastAPI:
    """Return the application that the parent process configured."""
    document = json.loads(os.environ[_VARIABLE])
    return app_of_worker(Path(document["folder"]), Settings(**document["settings"]))


def app_of_worker(folder: Path, settings: Settings) -> FastAPI:
    """Return the application of a dedicated process.

    torch is limited to one thread, because each request occupies one core.
    """
    torch.set_num_threads(1)
    return create_app(folder, settings)
