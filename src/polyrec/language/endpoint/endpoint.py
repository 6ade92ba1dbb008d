"""`Endpoint`: an HTTP client for servers with OpenAI's protocol, with retries and readable errors."""

from __future__ import annotations

import email.utils
import math
import random
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from polyrec.core.errors import UserError, missing_extra
from polyrec.language.endpoint.connection import Connection

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds before the first retry, which double at each retry, and their limit."""

LONGEST_ASKED = 120.0
"""Largest accepted `Retry-After` in seconds; a longer one raises the error at once."""

_BUSY = (408, 409, 429)


class Endpoint:
    """A client that sends JSON to a server and returns its JSON. Threads may share one.

    If the server is unreachable or busy (no connection, timeout, 408, 409, 429, 5xx), a request is repeated as in OpenAI's
    client: after `min(0.5 · 2^n, 30)` seconds, less a random share of up to a quarter, or after `Retry-After`. Unlike there, a
    `Retry-After` delays the requests of all threads.
    """

    def __init__(self, connection: Connection) -> None:
        try:
            import httpx
        except ImportError as error:
            raise missing_extra("httpx", "language", "a server of language models") from error
        self._httpx = httpx
        self._connection = connection
        self._key = connection.key()
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        self._client = httpx.Client(headers=headers, timeout=connection.timeout)
        self._lock = threading.Lock()
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the server's answer, a JSON object; raises `UserError` if all retries fail."""
        for attempt in range(self._connection.retries + 1):
            self._wait()
            try:
                response = self._client.post(f"{self._connection.url}{path}", json=body)
            except self._httpx.TransportError as error:
                problem, requested = self._absent(error), None
            else:
                if response.status_code == 200:
                    return self._read(response)
                problem, requested = self._refused(response), _retry_after(response.headers)
                is_busy = response.status_code in _BUSY or response.status_code >= 500
                if not is_busy or _is_out_of_quota(response) or (requested or 0.0) > LONGEST_ASKED:
                    raise problem
            if attempt < self._connection.retries:
                backoff = min(FIRST_DELAY * 2.0**attempt, LONGEST_DELAY) * (1 - 0.25 * random.random())
                delay = requested if requested is not None and requested > 0 else backoff
                self._pause(delay, everyone=requested is not None)
        raise problem

    def problem(self, expected: str, found: str, remedy: str) -> UserError:
        """Return an error about this server, with the key removed."""
        thing = f"model {self._connection.model!r} at {self._connection.url}"
        clean = found if self._key is None else found.replace(self._key, "…")
        return UserError(thing, expected=expected, found=clean, remedy=remedy)

    def _wait(self) -> None:
        """Wait until the rate limit and pauses allow this request."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            if self._connection.requests_per_minute is not None:
                self._next = turn + 60.0 / self._connection.requests_per_minute
        time.sleep(turn - now)

    def _pause(self, seconds: float, everyone: bool) -> None:
        if everyone:
            with self._lock:
                self._next = max(self._next, time.monotonic() + seconds)
        else:
            time.sleep(seconds)

    def _absent(self, error: Exception) -> UserError:
        times = self._connection.retries + 1
        if isinstance(error, self._httpx.TimeoutException):
            found = f"none within {self._connection.timeout:g} s, {times} times"
            return self.problem("an answer in time", found, "Raise `timeout`, or request less at a time.")
        found = f"no connection ({error or type(error).__name__}), {times} times"
        return self.problem("a server that answers", found, "Start the server, or check `url`.")

    def _refused(self, response: Any) -> UserError:
        status, message = response.status_code, _message(response)
        if status in (401, 403):
            variable = self._connection.key_variable
            sent = "no key was sent" if variable is None else f"with the key in {variable}"
            remedy = "Name the variable that holds a valid key in `key_variable`."
            return self.problem("a key that is accepted", f"status {status}, {sent}{message}", remedy)
        if status == 404:
            return self.problem("an address and a model that exist", f"status 404{message}", "Check `url` and `model`.")
        if status == 429:
            remedy = "Wait, lower `requests_per_minute` and `in_flight`, or raise `retries`."
            return self.problem("an accepted request", f"status 429, rate limited{message}", remedy)
        if status >= 500:
            return self.problem("an answer", f"status {status}{message}", "Look at the server's log, or try again later.")
        return self.problem("an answer", f"status {status}{message}", "Check `url`, `model` and the settings.")

    def _read(self, response: Any) -> Mapping[str, Any]:
        try:
            answer = response.json()
        except ValueError as error:
            found = f"{response.text[:80]!r}"
            raise self.problem("JSON", found, "Check that `url` is the base of OpenAI's protocol.") from error
        if not isinstance(answer, dict):
            raise self.problem("a JSON object", f"a {type(answer).__name__}", "Check `url`.")
        return answer


def _message(response: Any) -> str:
    """Return the server's error message on one line, or an empty text."""
    try:
        error = response.json()["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {' '.join(str(message).split())[:300]}"


def _is_out_of_quota(response: Any) -> bool:
    """Return whether a 429 means that the account's quota is used up, so that waiting does not help."""
    return response.status_code == 429 and "insufficient_quota" in response.text


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the delay of the header `Retry-After` in seconds, given as a number or a date; None if it is absent."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        date = email.utils.parsedate_tz(value)
        return None if date is None else max(email.utils.mktime_tz(date) - time.time(), 0.0)
    return seconds if math.isfinite(seconds) else None
