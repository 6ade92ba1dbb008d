"""`polyrec serve`: serve recommendations over HTTP."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from polyrec.cli.terminal.output import console
from polyrec.core.errors import missing_extra


def serve(
    folder: Annotated[Path, typer.Argument(help="An artifact, or a folder of model versions from `polyrec publish`.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    store: Annotated[
        str | None,
        typer.Option(help="Store: sqlite:///FILE, redis:// or postgresql://. Default: a file in FOLDER-state."),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="YAML file of API keys; required unless only this machine has access.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of server processes, each with the models in memory.", min=1)] = 1,
    threads: Annotated[int, typer.Option(help="Number of requests that each process handles concurrently.", min=1)] = 2,
    rate: Annotated[float, typer.Option(help="Maximum number of requests per second and key.", min=0.1)] = 200.0,
    slow: Annotated[float, typer.Option(help="Seconds after which a request is logged as slow.", min=0.001)] = 0.5,
) -> None:
    """Serve a model over HTTP. The API has recommendations, scores, events and items; a web page is at /.

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

    addresses = state_beside(folder) | ({} if store is None else {"store": store})
    settings = Settings(**addresses, host=host, keys=keys, threads=threads, rate=rate, burst=2 * rate, slow=slow)
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
