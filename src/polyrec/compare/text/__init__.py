"""What a text feature is worth: the same recommender with and without its text."""

from polyrec.compare.text.outliers import find_outliers
from polyrec.compare.text.report import text_report
from polyrec.compare.text.result import TextReport

__all__ = [
    "TextReport",
    "find_outliers",
    "text_report",
]
