"""Checks of every request before parsing: size, time and strict JSON. A pure ASGI middleware."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES = 2**20
"""Largest size of a body in bytes."""

SLOWEST = 10.0
"""Seconds within which a body must arrive."""

DEEPEST = 32
"""Largest nesting depth of lists and objects."""


class RefusedError(Exception):
    """A refused request, answered with an error and nothing else."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status, self.error, self.headers = status, error, headers


class Guard:
    """Limits the size and the arrival time of bodies, and passes only JSON that every parser reads alike.

    NaN, infinity, numbers beyond double precision, halves of surrogate pairs, repeated keys and too deep nesting are refused
    with 422. A body that is too large is refused with 413, unread if `Content-Length` states its size. A body that arrives too
    slowly is refused with 408.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await _body(scope, receive)
            if body:
                check_json(body)
        except RefusedError as refused:
            await refuse(send, refused)
            return
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return left.pop() if left else await receive()

        await self.app(scope, replay, send)


async def _body(scope: Scope, receive: Receive) -> bytes:
    length = dict(scope["headers"]).get(b"content-length", b"")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise _too_large()
    pieces: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(SLOWEST):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "body: expected a complete body, found the end of the connection. Send it again.")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > MOST_BYTES:
                    raise _too_large()
                more = message.get("more_body", False)
    except TimeoutError:
        error = f"body: expected to arrive within {SLOWEST:.0f} seconds, found it incomplete. Send it faster."
        raise RefusedError(408, error, connection="close") from None
    return b"".join(pieces)


def check_json(body: bytes) -> None:
    """Raise `RefusedError` unless a body is strict JSON."""
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise RefusedError(422, f"body: expected JSON, found something else ({str(error)[:100]}). Fix it.") from None
    _check(value, 0)


def _check(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise _too_deep()
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for child in value:
            _check(child, depth + 1)
    elif isinstance(value, dict):
        for key, child in value.items():
            _check_text(key)
            _check(child, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong("Unicode", "half of a surrogate pair") from None


def _wrong(expected: str, actual: str) -> RefusedError:
    return RefusedError(422, f"body: expected {expected}, found {actual}. Fix it.")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond double precision")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("an object has a duplicate key")
    return result


def _too_large() -> RefusedError:
    error = f"body: expected at most {MOST_BYTES:,} bytes, found more. Send it in parts."
    return RefusedError(413, error, connection="close")


def _too_deep() -> RefusedError:
    return RefusedError(422, f"body: expected at most {DEEPEST} levels of nesting, found more. Send a flatter body.")


async def refuse(send: Send, refused: RefusedError) -> None:
    """Answer a refused request with its error."""
    body = json.dumps({"error": refused.error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
