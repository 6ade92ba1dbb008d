"""The server on Ray Serve: stateless replicas behind one store, on one machine or many.

From Ray's command line, with Python's fields as arguments:

    serve run polyrec.serve.scale:app folder=/models/films store=redis://store:6379/0 keys=/models/keys.yaml replicas=4

from Python:

    from ray import serve
    from polyrec.serve.scale import Scale, app

    serve.run(app(Scale(folder="/models/films", store="redis://store:6379/0", keys="/models/keys.yaml", replicas=4)))

Each replica is a process that builds the same application as a worker of `polyrec serve`, starts it and shuts it down.
"""

# Without postponed annotations: Ray looks at the argument's class to validate what the command line says.

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from polyrec.core.errors import missing_extra
from polyrec.serve.settings import Settings, state_beside
from polyrec.serve.versions.versions import Models

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application


class Scale(Settings):
    """What replicas serve, where their state lies, and how many there are.

    Unless told otherwise, store and journals lie beside the folder, where `polyrec serve` has them. Where replicas run on
    several machines, each must find the folder and the file of keys at the same path and have the journals' on a disk of its
    own; SQLite is a store of one machine.
    """

    folder: Path
    """An artifact, or a folder that `polyrec publish` wrote to."""
    replicas: int = Field(default=2, ge=1)
    """Processes that answer, each with the models in its memory."""
    host: str = "0.0.0.0"
    """Address that Ray's proxies listen at; anything but this machine's own wants keys."""

    @model_validator(mode="before")
    @classmethod
    def _keep_state_beside(cls, told: Any) -> Any:
        if isinstance(told, Mapping) and "folder" in told:
            return {**state_beside(Path(told["folder"])), **told}
        return told


class _Replica:
    async def check_health(self) -> None:
        """Return, on the loop that answers requests: where that is stuck, Ray starts another replica."""


def app(told: Scale) -> "Application":
    """Return the application for `serve.run` or `serve run`; raises `UserError` where there is no model or no key.

    A replica asks Ray for as many cores as it works on requests at a time. Ray keeps no queue before it: what is too much is
    refused by the server, in its own words.
    """
    Models(told.folder)
    told.api_keys()
    try:
        from ray import serve

        from polyrec.serve.gate.limits import MOST_HELD
        from polyrec.serve.worker import app_of_worker
    except ImportError as error:
        raise missing_extra("ray[serve]", "scale", "a server on Ray") from error

    def build() -> "FastAPI":
        return app_of_worker(told.folder, told)

    deployment = serve.deployment(
        name="polyrec",
        num_replicas=told.replicas,
        max_ongoing_requests=told.threads + told.waiting + MOST_HELD,
        ray_actor_options={"num_cpus": told.threads},
    )
    return deployment(serve.ingress(build)(_Replica)).bind()
