"""result.json: what one fit reports in addition to its test predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FitResult:
    """Utility, size and cost of one fit."""

    utility: float
    """Utility on the validation rows at the best epoch."""
    best_epoch: int
    """Epoch whose weights are kept, from 1; for LightGBM the boosting round."""
    epochs: int
    """Epochs trained; for LightGBM the boosting rounds."""
    parameters: int
    """Number of parameters; for LightGBM the number of leaves."""
    curves: Sequence[Mapping[str, float]]
    """Metrics of each epoch by name; empty for LightGBM."""
    gates: Mapping[str, Sequence[float]]
    """Mean weight of each expert by task; empty for models without gates."""
    cpu_seconds: float
    """CPU time of the fit, in seconds."""
    peak_bytes: int | None = None
    """Peak memory of the process, in bytes; None where the system does not report it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> FitResult:
        """Read what `to_dict` returned."""
        return cls(**document)
