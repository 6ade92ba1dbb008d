"""`polyrec serve`: lists in real time over HTTP, with a page."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.output import console
from polyrec.core.errors import missing_extra


def serve(
    folder: Annotated[Path, typer.Argument(help="An artifact, or a folder that `polyrec publish` wrote to.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=0, max=65535)] = 8000,
    store: Annotated[
        str | None,
        typer.Option(help="Address of the store; unset, a file in FOLDER-state: sqlite:///FILE, redis://, postgresql://."),
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="YAML file of API keys; needed where others can ask.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that answer, each with the models in its memory.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="Requests that each process works on at a time.", min=1)] = 2,
    rate: Annotated[float, typer.Option(help="Requests a second that a key may make.", min=0.1)] = 200.0,
    slow: Annotated[float, typer.Option(help="Seconds beyond which a request is told of in the log.", min=0.001)] = 0.5,
) -> None:
    """Serve a model: lists, scores, events and items over HTTP, and a page at /.

    Example: polyrec serve artifact --port 8000
    """
    try:
        import uvicorn

        from polyrec.serve.watch.metrics import shared_metrics
        from polyrec.serve.worker import tell_workers
    except ImportError as error:
        raise missing_extra("fastapi", "serve", "polyrec serve") from error
    from polyrec.serve.settings import Settings, state_beside
    from polyrec.serve.versions.versions import Models

    given = {} if store is None else {"store": store}
    told = state_beside(folder) | given
    settings = Settings(**told, host=host, keys=keys, threads=threads, rate=rate, burst=2 * rate, slow=slow)
    Models(folder)
    settings.api_keys()
    tell_workers(folder, settings)
    console.print(f"Loading {folder} … the page will be at http://{host}:{port}/", highlight=False)
    with shared_metrics() if workers > 1 else nullcontext():
        uvicorn.run(
            "polyrec.serve.worker:app",
            factory=True,
            workers=workers,
            host=host,
            port=port,
            log_level="warning",
            timeout_keep_alive=20,
            backlog=512,
            timeout_worker_healthcheck=30,
            server_header=False,
            proxy_headers=False,
        )
