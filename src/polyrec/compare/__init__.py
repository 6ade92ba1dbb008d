"""Comparisons of declarations: contenders, fits, intervals, reports."""

from polyrec.compare.comparison import Comparison
from polyrec.compare.run import compare
from polyrec.compare.zero_shot import Prompt, ask

__all__ = [
    "Comparison",
    "Prompt",
    "ask",
    "compare",
]
