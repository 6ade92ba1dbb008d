"""`Connection`: how a server that speaks OpenAI's protocol is reached. Keys stay in the environment."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator

from polyrec.core.errors import UserError
from polyrec.core.spec import Spec


class Connection(Spec):
    """Where a server is, which environment variable holds its key, and how patient to be with it.

    OpenAI, Ollama, vLLM, llama.cpp and text-embeddings-inference answer alike under their `/v1`. The key itself is in no field,
    file or message: a declaration may be shared.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """Base of the server's addresses, such as `http://localhost:11434/v1`."""
    model: str = Field(min_length=1)
    """Name of the model, as the server knows it."""
    key_variable: str | None = None
    """Environment variable that holds the key, such as `OPENAI_API_KEY`; unset, no key is sent."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds of silence after which a request counts as lost."""
    retries: int = Field(default=5, ge=0)
    """Times that a request is sent again after a busy or absent server, waiting longer each time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests sent a minute, evenly spaced; unset, as many as the server takes."""
    in_flight: int = Field(default=4, gt=0)
    """Requests that may wait for their answers at the same time."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("`url` must be an address such as http://localhost:11434/v1")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("`url` may hold no user, password or query: name the variable of the key in `key_variable`")
        return url.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("`key_variable` is the NAME of an environment variable, in capitals, not the key")
        return name

    def key(self) -> str | None:
        """Return the key from the environment; raises `UserError` where the variable is not set."""
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            remedy = f"Set it before you start: export {self.key_variable}=…"
            thing = f"environment variable {self.key_variable}"
            raise UserError(thing, expected=f"the key of {self.url}", found="nothing", remedy=remedy)
        return key
