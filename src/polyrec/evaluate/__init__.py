"""Metrics, evaluations, and estimates from logs of served lists."""

from polyrec.evaluate.evaluation import Evaluation, Slice
from polyrec.evaluate.metrics.metrics import METRICS

__all__ = [
    "METRICS",
    "Evaluation",
    "Slice",
]
