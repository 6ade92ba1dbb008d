"""Predictions of a trained model: for tables, for the catalogue, and as one list for one user."""

from polyrec.predict.generator import Generator
from polyrec.predict.predictor import Predictor

__all__ = [
    "Generator",
    "Predictor",
]
