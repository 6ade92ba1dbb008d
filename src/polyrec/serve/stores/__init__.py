"""The state behind a server: events, served lists, changes of items. One file a kind of store."""

from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.journal import Journal
from polyrec.serve.stores.log import export_log
from polyrec.serve.stores.opening import open_store
from polyrec.serve.stores.records import Event
from polyrec.serve.stores.store import Store, UnavailableError

__all__ = [
    "Durable",
    "Event",
    "Journal",
    "Store",
    "UnavailableError",
    "export_log",
    "open_store",
]
