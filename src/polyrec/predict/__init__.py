"""What a trained model answers: predictions, the catalogue, one list for one user."""

from polyrec.predict.generator import Generator
from polyrec.predict.predictor import Predictor

__all__ = [
    "Generator",
    "Predictor",
]
