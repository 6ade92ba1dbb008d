"""API keys and their scopes. A file contains only hashes, and keys are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from polyrec.core.errors import UserError, describe
from polyrec.core.spec import Spec

Scope = Literal["read", "write", "admin"]
"""Permissions of a key: `read` for recommendations, `write` for events and items, `admin` for erasures, models and metrics."""


class ApiKey(Spec):
    """A key, stored as its hash."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Name of the holder, for logs and limits."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the key, in hexadecimal."""
    scopes: tuple[Scope, ...] = Field(min_length=1)
    """Permissions of the key."""


class ApiKeys:
    """The keys that a server accepts; without any, every request is permitted."""

    def __init__(self, keys: tuple[ApiKey, ...] = ()) -> None:
        self.keys = keys

    def of(self, text: str) -> ApiKey | None:
        """Return the key with the given text, or none. All keys are compared completely, so that timing reveals nothing."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        match = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                match = key
        return match


def read_keys(path: Path) -> ApiKeys:
    """Read a YAML file that lists keys: `- {name: shop, sha256: …, scopes: [read, write]}`."""
    remedy = "Write a list of name, sha256 and scopes; `polyrec key NAME` makes an entry."
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        keys = TypeAdapter(tuple[ApiKey, ...]).validate_python(document)
    except ValidationError as error:
        raise UserError(f"file of keys '{path}'", expected="API keys", found=describe(error), remedy=remedy) from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"file of keys '{path}'", expected="YAML", found=str(error), remedy=remedy) from error
    if not keys or len({key.name for key in keys}) < len(keys):
        found = "none" if not keys else "two with the same name"
        raise UserError(
            f"file of keys '{path}'", expected="one key or more, each with a unique name", found=found, remedy=remedy
        )
    return ApiKeys(keys)


def new_key() -> tuple[str, str]:
    """Return a new key and its SHA-256."""
    key = secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()
