"""`Context`: inputs of a fusion in addition to the predictions. Shape letters: B rows, H hidden width, K feature width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Context:
    """Intermediate results of the model for some rows, in addition to predictions; only those that the fusion requests."""

    states: Mapping[str, Tensor] = field(default_factory=dict)
    """Hidden state that the shared network passes to the head of each task, (B, H); several views of a task are concatenated.
    """
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Vectors of each feature, (B, K), or (1, K) if all rows have the same."""
    unknown: Mapping[str, Tensor] = field(default_factory=dict)
    """Vector (1, K) of each feature for a row with unknown values; for fusions that learn."""

    def at(self, rows_N: Tensor) -> Context:
        """Return the context of some rows, given as numbers or as a mask."""
        states, features = ({name: x[rows_N] for name, x in part.items()} for part in (self.states, self.features))
        return Context(states, features, self.unknown)


NO_CONTEXT = Context()
