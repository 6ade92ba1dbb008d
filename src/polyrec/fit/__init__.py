"""All that is learned from rows: weights, calibrators, fusion weights; and the judge of each epoch."""

from polyrec.fit.fusion_search import FusionSearch, FusionTrial, Gain

__all__ = [
    "FusionSearch",
    "FusionTrial",
    "Gain",
]
