"""Learning from rows: weights, calibrators and fusion weights; and the validation of each epoch."""

from polyrec.fit.fusion_search import FusionSearch, FusionTrial, Gain

__all__ = [
    "FusionSearch",
    "FusionTrial",
    "Gain",
]
