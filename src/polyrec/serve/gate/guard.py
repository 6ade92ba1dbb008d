"""What every request passes before it is parsed: size, time, strict JSON. A pure ASGI middleware."""

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
"""Size of a body, beyond which it is refused unread."""

SLOWEST = 10.0
"""Seconds in which a body has to arrive."""

DEEPEST = 32
"""Levels of lists and objects within one another."""


class RefusedError(Exception):
    """A request that is answered with an error and no more."""

    def __init__(self, status: int, error: str, **headers: str) -> None:
        super().__init__(error)
        self.status, self.error, self.headers = status, error, headers


class Guard:
    """Reads bodies up to a size, within a time, and lets JSON through that every parser reads alike.

    NaN, infinity, numbers beyond double precision, halves of surrogate pairs and repeated keys are refused with 422, and so is
    what is nested too deep; a body that is too large with 413, before it is read where its length is told; one that comes too
    slowly with 408.
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
    told = dict(scope["headers"]).get(b"content-length", b"")
    if told.isdigit() and int(told) > MOST_BYTES:
        raise _too_large()
    pieces: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(SLOWEST):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "body: expected all of it, found the end of the connection. Send it again.")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > MOST_BYTES:
                    raise _too_large()
                more = message.get("more_body", False)
    except TimeoutError:
        error = f"body: expected within {SLOWEST:.0f} seconds, found less. Send it faster."
        raise RefusedError(408, error, connection="close") from None
    return b"".join(pieces)


def check_json(body: bytes) -> None:
    """Raise `RefusedError` unless a body is JSON that is safe to pass on."""
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise RefusedError(422, f"body: expected JSON, found something else ({str(error)[:100]}). Mend it.") from None
    _check(value, 0)


def _check(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise _too_deep()
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for one in value:
            _check(one, depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            _check_text(key)
            _check(one, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _wrong("Unicode", "half of a surrogate pair") from None


def _wrong(expected: str, found: str) -> RefusedError:
    return RefusedError(422, f"body: expected {expected}, found {found}. Mend it.")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond double precision")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _too_large() -> RefusedError:
    error = f"body: expected {MOST_BYTES:,} bytes at most, found more. Send it in parts."
    return RefusedError(413, error, connection="close")


def _too_deep() -> RefusedError:
    return RefusedError(422, f"body: expected {DEEPEST} levels at most, found more. Send something flatter.")


async def refuse(send: Send, refused: RefusedError) -> None:
    """Answer with an error and no more."""
    body = json.dumps({"error": refused.error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
