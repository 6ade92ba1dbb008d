"""Access control by API key, scope and rate: the outermost middleware, in pure ASGI."""

from __future__ import annotations

import time
from collections.abc import Mapping

from polyrec.serve.gate.guard import App, Message, Receive, RefusedError, Send, refuse
from polyrec.serve.gate.guard import Scope as AsgiScope
from polyrec.serve.gate.keys import ApiKeys, Scope
from polyrec.serve.gate.limits import RateLimit
from polyrec.serve.gate.same_machine import check_same_machine
from polyrec.serve.watch.metrics import Metrics
from polyrec.serve.watch.slow_log import SlowLog

OPEN = ("/health", "/ready", "/", "/page.js", "/page.css", "/openapi.json", "/docs")
"""Paths that need no key, in addition to the page's `/parts/`: they reveal nothing about users and models."""

SCOPES: Mapping[tuple[str, str], Scope] = {
    ("POST", "/recommend"): "read",
    ("POST", "/score"): "read",
    ("POST", "/similar"): "read",
    ("POST", "/explain"): "read",
    ("GET", "/users"): "read",
    ("GET", "/model"): "read",
    ("POST", "/events"): "write",
    ("POST", "/items"): "write",
    ("DELETE", "/items"): "write",
    ("DELETE", "/users"): "admin",
    ("POST", "/reload"): "admin",
    ("GET", "/metrics"): "admin",
}
"""Scope required of a key, by method and first part of the path; all other routes require `admin`."""


class Access:
    """Admits requests whose key has the scope and the rate, counts and times all requests, and logs slow ones.

    The key is sent as `Authorization: Bearer KEY` or `X-API-Key: KEY`. Without configured keys, programs on this machine may
    send any request, pages of other sites may send none, and the rate limit applies per address.
    """

    def __init__(self, app: App, keys: ApiKeys, rate: RateLimit, metrics: Metrics, slow: SlowLog) -> None:
        self.app, self.keys, self.rate, self.metrics, self.slow = app, keys, rate, metrics, slow

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._admit(scope)
            await self.app(scope, receive, send_observed)
        except RefusedError as refused:
            await refuse(send_observed, refused)
        finally:
            path, taken = _first(_route(scope)), time.perf_counter() - started
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(taken)
            self.slow.take(scope["method"], path, status, taken)

    def _admit(self, scope: AsgiScope) -> None:
        path, method, headers = _route(scope), scope["method"], dict(scope["headers"])
        caller = (scope.get("client") or ("unknown",))[0]
        if not self.keys.keys:
            check_same_machine(method, headers)
        elif path not in OPEN and not path.startswith("/parts/"):
            presented = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
            key = self.keys.of(presented.decode("latin-1"))
            if key is None:
                error = "key: expected a known API key, found another or none. Send Authorization: Bearer KEY."
                raise RefusedError(401, error, www_authenticate="Bearer")
            wanted = SCOPES.get((method, _first(path)), "admin")
            if wanted not in key.scopes:
                raise RefusedError(403, f"key: expected the scope {wanted!r}, found a key without it. Use another key.")
            caller = f"key {key.name}"
        if path not in ("/health", "/ready"):
            self.rate.take(caller)


_KNOWN = (
    "recommend",
    "score",
    "events",
    "items",
    "users",
    "similar",
    "explain",
    "reload",
    "metrics",
    "model",
    "health",
    "ready",
)


def _route(scope: AsgiScope) -> str:
    """Return the path as in the routes, without the prefix under which the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    is_under = path == root or path.startswith(f"{root}/")
    return path[len(root) :] if is_under else path


def _first(path: str) -> str:
    """Return the first part of a path if it is known, else `other`, which bounds the number of counters."""
    part = path.split("/", 2)[1] if "/" in path else ""
    return f"/{part}" if part in _KNOWN else "other"
