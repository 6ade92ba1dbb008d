"""The HTTP application: routes of a `Service`, middleware and error responses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.middleware import Middleware
from starlette.routing import Match

from polyrec.core.errors import UserError
from polyrec.core.version import __version__
from polyrec.serve.api import messages
from polyrec.serve.api.columns import event_names, item_columns
from polyrec.serve.api.document import document
from polyrec.serve.api.service import Service
from polyrec.serve.gate.access import Access
from polyrec.serve.gate.guard import Guard, RefusedError
from polyrec.serve.gate.limits import Gate, RateLimit
from polyrec.serve.settings import Settings
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.journals import free_journal
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Key
from polyrec.serve.stores.store import UnavailableError
from polyrec.serve.versions.router import Router
from polyrec.serve.watch.list_log import ListLog
from polyrec.serve.watch.metrics import Metrics
from polyrec.serve.watch.slow_log import SlowLog

_LOGGER = logging.getLogger(__name__)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": messages.Refusal, "description": description}
    for status, description in {
        401: "The API key is missing or unknown.",
        403: "The key lacks the scope; without keys, the host is not this machine or the page belongs to another site.",
        404: "No such item.",
        408: "The body arrived too slowly.",
        413: "The body exceeds 1 MiB.",
        409: "The body matches the schema but not the model: an unknown column, weight or value.",
        422: "The body does not match the schema.",
        429: "The rate limit of the key is exceeded.",
        503: "The server is busy or the store is down: try again.",
    }.items()
}

_LOCAL: dict[int | str, dict[str, Any]] = {403: _REFUSALS[403]}

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

_SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
}


def create_app(folder: Path, settings: Settings) -> FastAPI:
    """Return the application that serves a folder of models; its startup loads the models."""
    metrics, keys = Metrics(), settings.api_keys()
    rate, slow = RateLimit(settings.rate, settings.burst), SlowLog(settings.slow)
    middleware = [
        Middleware(Access, keys=keys, rate=rate, metrics=metrics, slow=slow),
        Middleware(Guard),
    ]
    app = FastAPI(
        title="Polyrec",
        version=__version__,
        description="Real-time recommendations: one ranking from the predictions of many tasks.",
        lifespan=lambda app: _lifespan(app, folder, settings, metrics),
        middleware=middleware,
        redoc_url=None,
        docs_url=None,
    )
    app.state.gate = Gate(settings.threads, settings.waiting, settings.patience)
    app.state.counting = Gate(1, settings.waiting, settings.patience)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(404, _http)
    app.add_exception_handler(405, _http)
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(Exception, _internal_error)
    _routes(app)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, folder: Path, settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    journal = free_journal(settings.journal)
    store = await asyncio.to_thread(Durable, lambda: open_store(settings.store), journal, family=settings.journal)
    router = await asyncio.to_thread(Router, folder, store)
    lists = ListLog(store)
    service = Service(router, store, lists, metrics)
    metrics.watch("polyrec_lists_waiting", "Lists waiting to be logged.", lambda: lists.waiting)
    metrics.watch("polyrec_lists_lost", "Lists that were not logged.", lambda: lists.lost, "sum")
    metrics.watch("polyrec_requests_inside", "Requests running or waiting.", lambda: app.state.gate.inside)
    metrics.watch("polyrec_store_up", "1 if the last call to the store succeeded.", lambda: store.is_up, "livemin")
    metrics.watch("polyrec_journal_bytes", "Bytes of events waiting for the store.", lambda: store.waiting)
    metrics.watch("polyrec_lists_journal_bytes", "Bytes of lists waiting for the store.", lambda: store.waiting_lists)
    help_text = "1 if a published version was refused."
    metrics.watch("polyrec_version_refused", help_text, lambda: router.refused is not None, "livemax")
    app.state.service = service
    watching = asyncio.create_task(_watch(router, metrics, settings.every))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.to_thread(service.close)


async def _watch(router: Router, metrics: Metrics, every: float) -> None:
    """Poll forever: update the watched gauges, read the version pointer and apply item changes of other workers."""
    while True:
        await asyncio.sleep(every)
        try:
            metrics.refresh_gauges()
            await asyncio.to_thread(router.refresh)
            await asyncio.to_thread(router.follow)
        except UnavailableError as error:
            _LOGGER.warning("item changes cannot be read: %s", error)
        except Exception as error:
            _LOGGER.exception("polling versions and items failed; it is repeated", exc_info=error)


def _routes(app: FastAPI) -> None:
    def service_of(request: Request) -> Service:
        return request.app.state.service

    async def answer(request: Request, work: Callable[[], BaseModel]) -> Response:
        result = await request.app.state.gate.run(work)
        return Response(result.model_dump_json(), media_type="application/json")

    def route(method: str, path: str, reply: type[BaseModel], status: int = 200) -> Callable[[Any], Any]:
        return app.api_route(path, methods=[method], response_model=reply, status_code=status, responses=_REFUSALS)

    @route("POST", "/recommend", messages.RecommendAnswer)
    async def recommend(body: messages.RecommendRequest, request: Request) -> Response:
        """Return the best items for a user."""
        return await answer(request, lambda: service_of(request).recommend(body))

    @route("POST", "/score", messages.ScoreAnswer)
    async def score(body: messages.ScoreRequest, request: Request) -> Response:
        """Return the scores of the given items for a user."""
        return await answer(request, lambda: service_of(request).score(body))

    @route("POST", "/events", messages.EventsAnswer, 202)
    async def events(body: messages.EventsRequest, request: Request) -> Response:
        """Record user events. Acknowledged events are durable and affect the next list; duplicate ids are ignored."""
        response = await answer(request, lambda: service_of(request).take_events(body))
        response.status_code = 202
        return response

    @route("POST", "/items", messages.ItemsAnswer)
    async def items(body: messages.ItemsRequest, request: Request) -> Response:
        """Add items or change columns of existing items. The next list reflects acknowledged changes."""
        return await answer(request, lambda: service_of(request).take_items(body))

    @route("POST", "/similar", messages.SimilarAnswer)
    async def similar(body: messages.SimilarRequest, request: Request) -> Response:
        """Return the items most similar to the given item."""
        return await answer(request, lambda: service_of(request).similar(body))

    @route("POST", "/explain", messages.ExplainAnswer)
    async def explain(body: messages.ExplainRequest, request: Request) -> Response:
        """Return the contribution of each feature to the prediction of each task."""
        return await answer(request, lambda: service_of(request).explain(body))

    @route("GET", "/users", messages.UsersAnswer)
    async def users(request: Request, start: str = "", limit: int = 10) -> Response:
        """Return users of the training data whose key begins with `start`."""
        return await answer(request, lambda: service_of(request).users(start[:256], max(1, min(limit, 100))))

    @route("GET", "/users/{user:path}", messages.UserAnswer)
    async def user(request: Request, user: Annotated[Key, InPath()], limit: int = 20) -> Response:
        """Return the newest events of a user: live events first, then events of the training data."""
        service = service_of(request)
        fitted = service.router.current.fitted
        columns = (*item_columns(fitted), *event_names(fitted))
        return await answer(request, lambda: service.user(user, max(1, min(limit, 100)), columns))

    @app.delete("/users/{user:path}", status_code=204, responses=_REFUSALS)
    async def erase(request: Request, user: Annotated[Key, InPath()]) -> Response:
        """Erase a user: delete the live events and ignore the user's training history from now on."""
        await request.app.state.gate.run(lambda: service_of(request).erase(user))
        return Response(status_code=204)

    @app.delete("/items/{item:path}", status_code=204, responses=_REFUSALS)
    async def remove(request: Request, item: Annotated[Key, InPath()]) -> Response:
        """Remove an item from all further lists."""
        await request.app.state.gate.run(lambda: service_of(request).remove_item(item))
        return Response(status_code=204)

    @app.post("/reload", responses=_REFUSALS)
    async def reload(request: Request) -> dict[str, Any]:
        """Read the version pointer again, immediately."""
        router = service_of(request).router
        changed = await asyncio.to_thread(router.refresh)
        return {"changed": changed, "model": router.current.version, "refused": router.refused}

    @app.get("/model", responses=_REFUSALS)
    async def model(request: Request) -> dict[str, Any]:
        """Return the tasks, weights, columns and model card of the served model."""
        card: dict[str, Any] = await request.app.state.gate.run(service_of(request).card)
        return card

    @app.get("/health", responses=_LOCAL)
    async def health() -> dict[str, str]:
        """Report that the process is alive."""
        return {"status": "alive"}

    @app.get("/ready", responses=_LOCAL)
    async def ready(request: Request) -> dict[str, str]:
        """Report that models are loaded and warm, and whether the store is up. Lists are served without a store, too."""
        service = service_of(request)
        return {"status": "ready", "model": service.router.current.version, "store": "up" if service.store.is_up else "down"}

    @app.get("/metrics", response_class=Response, responses=_REFUSALS)
    async def metrics(request: Request) -> Response:
        """Return the metrics of all workers in Prometheus' text format."""
        text = await request.app.state.counting.run(service_of(request).metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4")

    page = files("polyrec.serve") / "page"
    app.get("/", include_in_schema=False)(_static(page / "index.html"))
    for file in (page / "page.js", page / "page.css"):
        app.get(f"/{file.name}", include_in_schema=False)(_static(file))
    for file in (page / "parts").iterdir():
        app.get(f"/parts/{file.name}", include_in_schema=False)(_static(file))


def _static(file: Traversable) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        kind = _KINDS[file.name[file.name.rindex(".") :]]
        return Response(file.read_bytes(), media_type=f"{kind}; charset=utf-8", headers=_SAFE)

    return page


def _error(status: int, error: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": error}, status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _error(error.status, error.error, {name.replace("_", "-"): value for name, value in error.headers.items()})


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = []
    for finding in error.errors()[:5]:
        where = ".".join(str(part) for part in finding["loc"] if part != "body") or "body"
        problems.append(f"{where}: {finding['msg'].removeprefix('Value error, ')}")
    beyond_schema = all(finding["type"] == "value_error" for finding in error.errors())
    return _error(409 if beyond_schema else 422, "; ".join(problems))


async def _http(request: Request, error: Exception) -> Response:
    http_error: Any = error
    headers = {"allow": _allowed(request)} if http_error.status_code == 405 else http_error.headers
    return _error(http_error.status_code, f"{request.method} {request.url.path}: {http_error.detail}", headers)


def _allowed(request: Request) -> str:
    """Return the methods of all routes that match the path; the framework reports those of the first route only."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted({method for route in matching for method in getattr(route, "methods", ())}))


async def _user_error(request: Request, error: Exception) -> Response:
    if isinstance(error, UnavailableError):
        return _error(503, f"{error}", {"retry-after": "1"})
    return _error(409, f"{error}")


async def _internal_error(request: Request, error: Exception) -> Response:
    _LOGGER.exception("a request failed", exc_info=error)
    return _error(500, "server: expected an answer, found an internal error. Read the server's log.")
