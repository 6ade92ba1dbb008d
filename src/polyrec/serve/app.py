"""The HTTP application: routes over a `Service`, and what every request passes before them."""

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
    status: {"model": messages.Refusal, "description": told}
    for status, told in {
        401: "No known key.",
        403: "A key that is not for this; without keys, another name than this machine's, or a page of another site.",
        404: "No such item.",
        408: "A body that came too slowly.",
        413: "A body of more than 1 MiB.",
        409: "A body as documented that does not fit the model: a column, a weight, a value that it does not know.",
        422: "A body that is not as documented.",
        429: "More requests than the key may make.",
        503: "Too busy, or the store is down: try again.",
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
    """Return the application that serves a folder of models; models are loaded when it starts."""
    metrics, keys = Metrics(), settings.api_keys()
    rate, slow = RateLimit(settings.rate, settings.burst), SlowLog(settings.slow)
    middleware = [
        Middleware(Access, keys=keys, rate=rate, metrics=metrics, slow=slow),
        Middleware(Guard),
    ]
    app = FastAPI(
        title="Polyrec",
        version=__version__,
        description="One ranking of many tasks, in real time.",
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
    app.add_exception_handler(UserError, _mistaken)
    app.add_exception_handler(Exception, _broken)
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
    metrics.watch("polyrec_lists_waiting", "Lists that wait to be logged.", lambda: lists.waiting)
    metrics.watch("polyrec_lists_lost", "Lists that were not logged.", lambda: lists.lost, "sum")
    metrics.watch("polyrec_requests_inside", "Requests that work or wait.", lambda: app.state.gate.inside)
    metrics.watch("polyrec_store_up", "Whether the store answered last.", lambda: store.is_up, "livemin")
    metrics.watch("polyrec_journal_bytes", "Bytes of events that wait for the store.", lambda: store.waiting)
    metrics.watch("polyrec_lists_journal_bytes", "Bytes of lists that wait for the store.", lambda: store.waiting_lists)
    refused = "1 where a published version was refused."
    metrics.watch("polyrec_version_refused", refused, lambda: router.refused is not None, "livemax")
    app.state.service = service
    watching = asyncio.create_task(_watch(router, metrics, settings.every))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.to_thread(service.close)


async def _watch(router: Router, metrics: Metrics, every: float) -> None:
    """Look for another pointer, for items that other workers changed and at what is counted, again and again."""
    while True:
        await asyncio.sleep(every)
        try:
            metrics.look()
            await asyncio.to_thread(router.refresh)
            await asyncio.to_thread(router.follow)
        except UnavailableError as error:
            _LOGGER.warning("changes of items are not known: %s", error)
        except Exception as error:
            _LOGGER.exception("the next look at versions and items follows, for this one failed", exc_info=error)


def _routes(app: FastAPI) -> None:
    def service(request: Request) -> Service:
        return request.app.state.service

    async def answer(request: Request, work: Callable[[], BaseModel]) -> Response:
        found = await request.app.state.gate.run(work)
        return Response(found.model_dump_json(), media_type="application/json")

    def route(method: str, path: str, reply: type[BaseModel], status: int = 200) -> Callable[[Any], Any]:
        return app.api_route(path, methods=[method], response_model=reply, status_code=status, responses=_REFUSALS)

    @route("POST", "/recommend", messages.RecommendAnswer)
    async def recommend(body: messages.RecommendRequest, request: Request) -> Response:
        """Return the best items for someone."""
        return await answer(request, lambda: service(request).recommend(body))

    @route("POST", "/score", messages.ScoreAnswer)
    async def score(body: messages.ScoreRequest, request: Request) -> Response:
        """Return the scores of some items for someone."""
        return await answer(request, lambda: service(request).score(body))

    @route("POST", "/events", messages.EventsAnswer, 202)
    async def events(body: messages.EventsRequest, request: Request) -> Response:
        """Tell what users did; what is acknowledged is safe, and the next list knows of it. A repeated id changes nothing."""
        found = await answer(request, lambda: service(request).take_events(body))
        found.status_code = 202
        return found

    @route("POST", "/items", messages.ItemsAnswer)
    async def items(body: messages.ItemsRequest, request: Request) -> Response:
        """Add items or change what is known of some: they can be recommended when this answers."""
        return await answer(request, lambda: service(request).take_items(body))

    @route("POST", "/similar", messages.SimilarAnswer)
    async def similar(body: messages.SimilarRequest, request: Request) -> Response:
        """Return items like one."""
        return await answer(request, lambda: service(request).similar(body))

    @route("POST", "/explain", messages.ExplainAnswer)
    async def explain(body: messages.ExplainRequest, request: Request) -> Response:
        """Return what each feature adds to each task's prediction."""
        return await answer(request, lambda: service(request).explain(body))

    @route("GET", "/users", messages.UsersAnswer)
    async def users(request: Request, start: str = "", limit: int = 10) -> Response:
        """Return users of the training whose key begins so."""
        return await answer(request, lambda: service(request).users(start[:256], max(1, min(limit, 100))))

    @route("GET", "/users/{user:path}", messages.UserAnswer)
    async def user(request: Request, user: Annotated[Key, InPath()], limit: int = 20) -> Response:
        """Return what is known of a user: the newest events, live ones and those of the training."""
        kept = service(request)
        fitted = kept.router.current.fitted
        columns = (*item_columns(fitted), *event_names(fitted))
        return await answer(request, lambda: kept.user(user, max(1, min(limit, 100)), columns))

    @app.delete("/users/{user:path}", status_code=204, responses=_REFUSALS)
    async def erase(request: Request, user: Annotated[Key, InPath()]) -> Response:
        """Forget a user: events are deleted, and what models know of the user's past is not read any more."""
        await request.app.state.gate.run(lambda: service(request).erase(user))
        return Response(status_code=204)

    @app.delete("/items/{item:path}", status_code=204, responses=_REFUSALS)
    async def remove(request: Request, item: Annotated[Key, InPath()]) -> Response:
        """Take an item away: it is not listed any more."""
        await request.app.state.gate.run(lambda: service(request).remove_item(item))
        return Response(status_code=204)

    @app.post("/reload", responses=_REFUSALS)
    async def reload(request: Request) -> dict[str, Any]:
        """Read the pointer to versions again, at once."""
        router = service(request).router
        changed = await asyncio.to_thread(router.refresh)
        return {"changed": changed, "model": router.current.version, "refused": router.refused}

    @app.get("/model", responses=_REFUSALS)
    async def model(request: Request) -> dict[str, Any]:
        """Return what people and programs should know of the models."""
        found: dict[str, Any] = await request.app.state.gate.run(service(request).card)
        return found

    @app.get("/health", responses=_LOCAL)
    async def health() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @app.get("/ready", responses=_LOCAL)
    async def ready(request: Request) -> dict[str, str]:
        """Say that models are loaded and warm, and whether the store answers: without it lists are made all the same."""
        kept = service(request)
        return {"status": "ready", "model": kept.router.current.version, "store": "up" if kept.store.is_up else "down"}

    @app.get("/metrics", response_class=Response, responses=_REFUSALS)
    async def metrics(request: Request) -> Response:
        """Return counters of all workers in Prometheus' text format."""
        text = await request.app.state.counting.run(service(request).metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4")

    page = files("polyrec.serve") / "page"
    app.get("/", include_in_schema=False)(_static(page / "index.html"))
    for own in (page / "page.js", page / "page.css"):
        app.get(f"/{own.name}", include_in_schema=False)(_static(own))
    for own in (page / "parts").iterdir():
        app.get(f"/parts/{own.name}", include_in_schema=False)(_static(own))


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
    told = []
    for finding in error.errors()[:5]:
        where = ".".join(str(part) for part in finding["loc"] if part != "body") or "body"
        told.append(f"{where}: {finding['msg'].removeprefix('Value error, ')}")
    beyond_schema = all(finding["type"] == "value_error" for finding in error.errors())
    return _error(409 if beyond_schema else 422, "; ".join(told))


async def _http(request: Request, error: Exception) -> Response:
    told: Any = error
    headers = {"allow": _allowed(request)} if told.status_code == 405 else told.headers
    return _error(told.status_code, f"{request.method} {request.url.path}: {told.detail}", headers)


def _allowed(request: Request) -> str:
    """Return the methods that a path takes, of all routes that it matches: the framework tells those of the first."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted({method for route in matching for method in getattr(route, "methods", ())}))


async def _mistaken(request: Request, error: Exception) -> Response:
    if isinstance(error, UnavailableError):
        return _error(503, f"{error}", {"retry-after": "1"})
    return _error(409, f"{error}")


async def _broken(request: Request, error: Exception) -> Response:
    _LOGGER.exception("a request failed", exc_info=error)
    return _error(500, "server: expected to answer, found a fault of its own. It is in the server's log.")
