"""What a server is told when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from polyrec.core.errors import UserError
from polyrec.core.spec import Spec
from polyrec.serve.gate.keys import ApiKeys, read_keys
from polyrec.serve.gate.same_machine import is_loopback


class Settings(Spec):
    """Where state lies, who may ask, and how much."""

    store: str = "sqlite:///polyrec.sqlite"
    """Address of the store: `sqlite:///FILE`, `redis://…`, `postgresql://…`."""
    journal: Path = Path("polyrec.journal")
    """File that takes events while the store is down; each process has one of its own."""
    host: str = "127.0.0.1"
    """Address to listen at."""
    keys: Path | None = None
    """YAML file of API keys; without one, only this machine may ask."""
    rate: float = Field(default=200.0, gt=0)
    """Requests a second that a key may make, in the long run."""
    burst: float = Field(default=400.0, ge=1)
    """Requests that a key may make at once."""
    threads: int = Field(default=2, ge=1)
    """Requests that are worked on at a time; each takes a core."""
    waiting: int = Field(default=32, ge=0)
    """Requests that wait for a thread; more are refused."""
    patience: float = Field(default=1.0, gt=0)
    """Seconds that a request waits for a thread at most."""
    slow: float = Field(default=0.5, gt=0)
    """Seconds beyond which a request is told of in the server's log."""
    every: float = Field(default=1.0, gt=0)
    """Seconds between looks for another version, and for items that other workers changed."""

    def api_keys(self) -> ApiKeys:
        """Return the keys; raises `UserError` where there are none and others than this machine could ask."""
        if self.keys is not None:
            return read_keys(self.keys)
        if not is_loopback(self.host):
            remedy = "Give --keys FILE, or listen at 127.0.0.1."
            raise UserError(f"host {self.host!r}", expected="keys, for others can ask there", found="none", remedy=remedy)
        return ApiKeys()


def state_beside(folder: Path) -> dict[str, Any]:
    """Return where state lies unless a server is told otherwise, as fields of `Settings`: beside a folder of models."""
    whole = folder.resolve()
    state = whole.parent / f"{whole.name}-state"
    return {"store": f"sqlite:///{state}/events.sqlite", "journal": state / "journal"}
