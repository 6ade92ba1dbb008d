"""Opening of a store by its address."""

from __future__ import annotations

from polyrec.core.address import Address
from polyrec.core.errors import UserError, nearest
from polyrec.serve.stores.postgresql import PostgreSQL
from polyrec.serve.stores.redis import Redis
from polyrec.serve.stores.sqlite import SQLite
from polyrec.serve.stores.store import Store

_KINDS: tuple[type[Store], ...] = (SQLite, Redis, PostgreSQL)


def open_store(url: str, timeout: float = 2.0) -> Store:
    """Open the store at an address, and create it if it does not exist.

    `sqlite:///folder/events.sqlite` is a file (four slashes for an absolute path), `redis://:password@host:6379/0` a Redis or
    Valkey server, `postgresql://user:password@host:5432/database` a PostgreSQL server. Calls give up after `timeout` seconds.

    Raises `UserError` for an unknown scheme and for a store with another schema version, `UnavailableError` if the store does
    not answer.
    """
    address = Address(url)
    kinds = {scheme: kind for kind in _KINDS for scheme in kind.schemes}
    if address.scheme not in kinds:
        found = f"the scheme {address.scheme!r}" if address.scheme else "none"
        remedy = nearest(address.scheme, [f"{scheme}://" for scheme in kinds])
        raise UserError(f"address of a store, {address.shown!r}", expected="a scheme", found=found, remedy=remedy)
    address.check("address of a store")
    return kinds[address.scheme](address, timeout)
