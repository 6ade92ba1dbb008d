"""Values that a search may try for a setting."""

from polyrec.ranges.choice import Choice
from polyrec.ranges.integers import Integers
from polyrec.ranges.range import Range
from polyrec.ranges.uniform import Uniform

__all__ = [
    "Choice",
    "Integers",
    "Range",
    "Uniform",
]
