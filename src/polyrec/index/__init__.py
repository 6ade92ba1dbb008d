"""Nearest-neighbour search among many vectors, exact or with an inverted file, in numpy only."""

from polyrec.index.build import build_index, load_index, save_index
from polyrec.index.index import Index

__all__ = [
    "Index",
    "build_index",
    "load_index",
    "save_index",
]
