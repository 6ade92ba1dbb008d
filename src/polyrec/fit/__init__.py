"""Fitting weights, calibrators and fusion weights to rows, and the evaluation after each epoch."""

from polyrec.fit.fusion_search import FusionSearch, FusionTrial, Gain

__all__ = [
    "FusionSearch",
    "FusionTrial",
    "Gain",
]
