"""Tables: sources, side tables, splits."""

from polyrec.data.read.query import Query
from polyrec.data.splits import LastSplit, RandomSplit, Split, TimeSplit
from polyrec.data.tables import Tables

__all__ = [
    "LastSplit",
    "Query",
    "RandomSplit",
    "Split",
    "Tables",
    "TimeSplit",
]
