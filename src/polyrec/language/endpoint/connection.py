"""`Connection`: access to a server with OpenAI's protocol. Keys stay in the environment."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from polyrec.core.errors import UserError
from polyrec.core.spec import Spec


class Connection(Spec):
    """Address of a server, environment variable of its key, and limits on retries and requests.

    OpenAI, Ollama, vLLM, llama.cpp and text-embeddings-inference have the same interface under `/v1`. No field, file or message
    contains the key, so that a declaration can be shared.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """Base URL of the server, such as `http://localhost:11434/v1`."""
    model: str = Field(min_length=1)
    """Name of the model on the server."""
    key_variable: str | None = None
    """Environment variable that holds the key, such as `OPENAI_API_KEY`; unset, no key is sent."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds without a response after which a request fails."""
    retries: int = Field(default=5, ge=0)
    """Number of retries of a request if the server is busy or unreachable, with growing delays."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Maximum number of requests per minute, evenly spaced; unset, no limit."""
    in_flight: int = Field(default=4, gt=0)
    """Maximum number of concurrent requests."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("`url` must be an address such as http://localhost:11434/v1")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("`url` may contain no user, password or query: name the variable of the key in `key_variable`")
        return url.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("`key_variable` is the NAME of an environment variable, in capitals, not the key")
        return name

    def key(self) -> str | None:
        """Return the key from the environment; raises `UserError` if the variable is not set."""
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            remedy = f"Set it before you start: export {self.key_variable}=…"
            thing = f"environment variable {self.key_variable}"
            raise UserError(thing, expected=f"the key of {self.url}", found="nothing", remedy=remedy)
        return key
