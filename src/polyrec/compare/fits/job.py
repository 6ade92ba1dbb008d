"""What one process of a comparison is to do.

The result is a folder `runs/<key>` that is there whole or not at all: result.json and the test predictions in predictions.npz.
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

from polyrec.core import version
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task

RESULT_FILE, PREDICTIONS_FILE = "result.json", "predictions.npz"


_NO_PART_OF_A_FIT = ("cli", "compare", "demo", "report")


@cache
def versions() -> dict[str, str]:
    """Return what besides data and declaration decides the figures; `source` is a hash of the code that fits."""
    source, folder = hashlib.sha256(), Path(version.__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] not in _NO_PART_OF_A_FIT:
            source.update(path.read_bytes())
    return {
        "polyrec": version.__version__,
        "source": source.hexdigest()[:24],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


@dataclass(frozen=True)
class Job:
    """What one process is to do: fit a declaration on `learn` and predict the rows of `test`."""

    spec: Recommender
    """The declaration, its training with the seed and the step size."""
    learn: Path
    """Table to learn from, named by its content."""
    test: Path
    """Table whose rows are predicted, named by its content."""
    boosted: str | None = None
    """Task to fit with LightGBM instead."""
    rate: float | None = None
    """Step size of LightGBM."""

    @property
    def key(self) -> str:
        """The name of the result: the same for the same declaration, data and versions."""
        told = {**self.document(), "learn": self.learn.name, "test": self.test.name, "versions": versions()}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that are predicted."""
        return tuple(task for task in self.spec.tasks if self.boosted in (None, task.name))

    def document(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        own = {"spec": self.spec.model_dump(mode="json"), "boosted": self.boosted, "rate": self.rate}
        return {**own, "learn": str(self.learn), "test": str(self.test)}

    @classmethod
    def from_document(cls, told: Mapping[str, Any]) -> Job:
        """Read what `document` wrote."""
        spec = Recommender.model_validate(told["spec"])
        return cls(spec, Path(told["learn"]), Path(told["test"]), told["boosted"], told["rate"])

    def reseeded(self, seed: int) -> Job:
        """Return the job with another seed for weights, order and validation rows."""
        return replace(self, spec=self.spec.replace(training=self.spec.training.replace(seed=seed)))
