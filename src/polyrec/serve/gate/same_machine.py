"""Access to a server without keys: only requests from this machine that no page of another site made."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from polyrec.serve.gate.guard import RefusedError

_READING = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Return whether a name or an address, without a port, is loopback."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_same_machine(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Raise `RefusedError` if a page of another site may have sent the request through a browser.

    The `Host` must be this machine. Otherwise a site whose name temporarily resolves to this machine (DNS rebinding) could read
    answers. A writing request with an origin must come from a page of this server, because a browser sends the form of another
    site without a preflight request.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(_host_of(f"//{host}")):
        error = f"host {host[:100]!r}: expected this machine, found another name. Use localhost, or serve with --keys."
        raise RefusedError(403, error)
    origin = headers.get(b"origin", b"").decode("latin-1")
    is_foreign = bool(origin) and origin.partition("://")[2].lower() != host.lower()
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        is_foreign = True
    if is_foreign and method not in _READING:
        error = f"origin {origin[:100]!r}: expected this server's page or none, found another. Serve with --keys for others."
        raise RefusedError(403, error)


def _host_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
