"""The loop, the step and the optimisers."""

from polyrec.train.resetting import reset_rows

__all__ = [
    "reset_rows",
]
