"""Maps from predicted probabilities to calibrated ones."""

from polyrec.calibration.calibrator import Calibrator
from polyrec.calibration.isotonic import Isotonic
from polyrec.calibration.platt import Platt
from polyrec.calibration.temperature import Temperature

__all__ = [
    "Calibrator",
    "Isotonic",
    "Platt",
    "Temperature",
]
