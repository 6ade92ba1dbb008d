"""The models that a server serves: versions, routing, refreshes."""

from polyrec.serve.versions.refreshing import refresh
from polyrec.serve.versions.versions import Models, publish

__all__ = [
    "Models",
    "publish",
    "refresh",
]
