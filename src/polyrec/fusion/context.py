"""`Context`: what a fusion may read of rows beside the tasks' predictions. Shape letters: B rows, H hidden width, K width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Context:
    """What the model's pass over some rows leaves beside their predictions; empty but for what a fusion asks for."""

    states: Mapping[str, Tensor] = field(default_factory=dict)
    """By task what the shared network hands to its head, (B, H); of a task of several views side by side."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """By feature its vectors, (B, K), or (1, K) where all rows have the same."""
    unknown: Mapping[str, Tensor] = field(default_factory=dict)
    """By feature the vector (1, K) of a row of which nothing is known; for a fusion that learns."""

    def at(self, rows_N: Tensor) -> Context:
        """Return the context of some rows, by number or as flags."""
        states, features = ({name: own[rows_N] for name, own in part.items()} for part in (self.states, self.features))
        return Context(states, features, self.unknown)


NO_CONTEXT = Context()
