"""The server on Ray Serve: stateless replicas behind one store, on one machine or many.

From Ray's command line, with Python's fields as arguments:

    serve run polyrec.serve.scale:app folder=/models/films store=redis://store:6379/0 keys=/models/keys.yaml replicas=4

from Python:

    from ray import serve
    from polyrec.serve.scale import Scale, app

    serve.run(app(Scale(folder="/models/films", store="redis://store:6379/0", keys="/models/keys.yaml", replicas=4)))

Each replica is a process that builds the same application as a worker of `polyrec serve`, starts it and shuts it down.
"""

# Without postponed annotations: Ray validates the command line's arguments by the class of the parameter.

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from polyrec.core.errors import missing_extra
from polyrec.serve.gate.limits import MOST_HELD
from polyrec.serve.settings import Settings, state_beside
from polyrec.serve.versions.versions import Models
from polyrec.serve.worker import app_of_worker

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application


class Scale(Settings):
    """Models, location of the state, and number of replicas.

    By default, store and journals lie next to the folder, as with `polyrec serve`. If replicas run on several machines, the
    folder and the file of keys must have the same path on each, and the folder of journals must be on a local disk of each.
    SQLite works on a single machine only.
    """

    folder: Path
    """An artifact, or a folder written by `polyrec publish`."""
    replicas: int = Field(default=2, ge=1)
    """Number of server processes, each with the models in memory."""
    host: str = "0.0.0.0"
    """Address that Ray's proxies listen on; any address other than loopback requires keys."""

    @model_validator(mode="before")
    @classmethod
    def _keep_state_beside(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and "folder" in fields:
            return {**state_beside(Path(fields["folder"])), **fields}
        return fields


class _Replica:
    async def check_health(self) -> None:
        """Return, on the event loop that answers requests: if the loop is stuck, Ray replaces the replica."""


def app(settings: Scale) -> "Application":
    """Return the application for `serve.run` or `serve run`; raises `UserError` if there is no model or no key.

    A replica requests one core per concurrent request from Ray. Ray does not queue requests: the server itself refuses excess
    requests, with its usual errors.
    """
    Models(settings.folder)
    settings.api_keys()
    try:
        from ray import serve
    except ImportError as error:
        raise missing_extra("ray[serve]", "scale", "a server on Ray") from error

    def build() -> "FastAPI":
        return app_of_worker(settings.folder, settings)

    deployment = serve.deployment(
        name="polyrec",
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.threads + settings.waiting + MOST_HELD,
        ray_actor_options={"num_cpus": settings.threads},
    )
    return deployment(serve.ingress(build)(_Replica)).bind()
