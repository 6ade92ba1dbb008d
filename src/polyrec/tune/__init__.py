"""Search for settings by trials."""

from polyrec.tune.outcome import Tuned
from polyrec.tune.search import Search

__all__ = [
    "Search",
    "Tuned",
]
