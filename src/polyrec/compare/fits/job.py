"""The job of one process of a comparison.

The result is the folder `runs/<key>` with result.json and the test predictions in predictions.npz; it is written atomically.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import polyrec
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task

RESULT_FILE, PREDICTIONS_FILE = "result.json", "predictions.npz"


_NOT_PART_OF_A_FIT = ("cli", "compare", "demo", "report")


@cache
def versions() -> dict[str, str]:
    """Return the versions that determine the figures besides data and declaration; `source` hashes the code of a fit."""
    source, folder = hashlib.sha256(), Path(polyrec.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] not in _NOT_PART_OF_A_FIT:
            source.update(path.read_bytes())
    return {
        "polyrec": polyrec.__version__,
        "source": source.hexdigest()[:24],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


@dataclass(frozen=True)
class Job:
    """A fit of a declaration on `learn` and its predictions for the rows of `test`."""

    spec: Recommender
    """The declaration, with the seed and the learning rate in its training."""
    learn: Path
    """File of the table to learn from, named by its hash."""
    test: Path
    """File of the test table, named by its hash."""
    boosted: str | None = None
    """Task to fit with LightGBM; None for a fit of the declaration."""
    rate: float | None = None
    """Learning rate of LightGBM."""

    @property
    def key(self) -> str:
        """Name of the result: a hash of declaration, data and versions."""
        parts = {**self.document(), "learn": self.learn.name, "test": self.test.name, "versions": versions()}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks that are predicted."""
        return tuple(task for task in self.spec.tasks if self.boosted in (None, task.name))

    def document(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        settings = {"spec": self.spec.model_dump(mode="json"), "boosted": self.boosted, "rate": self.rate}
        return {**settings, "learn": str(self.learn), "test": str(self.test)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Job:
        """Read a job from the values that `document` returned."""
        spec = Recommender.model_validate(document["spec"])
        return cls(spec, Path(document["learn"]), Path(document["test"]), document["boosted"], document["rate"])

    def reseeded(self, seed: int) -> Job:
        """Return the job with another seed for weights, row order and validation rows."""
        return replace(self, spec=self.spec.replace(training=self.spec.training.replace(seed=seed)))
