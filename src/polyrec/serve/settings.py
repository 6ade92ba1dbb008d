"""The settings of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.core.spec import Spec
from polyrec.serve.gate.keys import ApiKeys, read_keys
from polyrec.serve.gate.same_machine import is_loopback


class Settings(Spec):
    """Location of the state, access and limits."""

    store: str = "sqlite:///polyrec.sqlite"
    """Address of the store: `sqlite:///FILE`, `redis://…`, `postgresql://…`."""
    journal: Path = Path("polyrec.journal")
    """File that keeps events while the store is down; each process has a separate one."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    keys: Path | None = None
    """YAML file of API keys; without it, only this machine has access."""
    rate: float = Field(default=200.0, gt=0)
    """Sustained requests per second of a key."""
    burst: float = Field(default=400.0, ge=1)
    """Largest burst of requests of a key."""
    threads: int = Field(default=2, ge=1)
    """Number of requests processed concurrently; each occupies one core."""
    waiting: int = Field(default=32, ge=0)
    """Largest number of requests that wait for a thread; more are refused."""
    patience: float = Field(default=1.0, gt=0)
    """Longest wait of a request for a thread, in seconds."""
    slow: float = Field(default=0.5, gt=0)
    """Duration in seconds beyond which a request is written to the server's log."""
    every: float = Field(default=1.0, gt=0)
    """Interval in seconds between polls for a new version and for item changes of other workers."""

    def api_keys(self) -> ApiKeys:
        """Return the keys; raises `UserError` if there are none and other machines have access."""
        if self.keys is not None:
            return read_keys(self.keys)
        if not is_loopback(self.host):
            remedy = "Give --keys FILE, or listen on 127.0.0.1."
            thing = f"host {self.host!r}"
            raise UserError(thing, expected="API keys, as other machines have access", found="none", remedy=remedy)
        return ApiKeys()


def state_beside(folder: Path) -> dict[str, Any]:
    """Return the default location of the state, next to a folder of models, as fields of `Settings`."""
    path = folder.resolve()
    state = path.parent / f"{path.name}-state"
    return {"store": f"sqlite:///{state}/events.sqlite", "journal": state / "journal"}
