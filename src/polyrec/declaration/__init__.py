"""What users declare, and the checks between its parts."""

from polyrec.declaration.declaration import Declaration, Roles
from polyrec.declaration.training import Training

__all__ = [
    "Declaration",
    "Roles",
    "Training",
]
