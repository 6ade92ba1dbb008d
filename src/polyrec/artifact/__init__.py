"""A fitted recommender as parts in memory and as files in a folder."""

from polyrec.artifact.facts import Facts, Frames
from polyrec.artifact.parts import Parts

__all__ = [
    "Facts",
    "Frames",
    "Parts",
]
