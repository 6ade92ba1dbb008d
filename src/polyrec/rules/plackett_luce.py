"""PlackettLuce: positions drawn by a softmax of the scores."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class PlackettLuce(Rule):
    """Draws each position from a pool with a probability of `exp(s_i / temperature) / sum_j exp(s_j / temperature)`.

    The pool are the best candidates that are left; one that holds all candidates makes the ranking that of Plackett (1975) and
    Luce (1959). Unlike EpsilonGreedy it hardly ever shows what scores far below the best.
    """

    examples = ({"temperature": 0.1}, {"temperature": 1.0, "pool": 4})
    explores = True

    temperature: float = Field(gt=0)
    """In the unit of the score, or of what Diversify makes of it (0 to 1): the higher, the more is left to chance."""
    pool: int = Field(default=100, ge=1)
    """Number of the best candidates left, of which one is drawn."""

    def begin(self, candidates: Candidates) -> Turn:
        return _Softmax(self.temperature, self.pool)


class _Softmax(Turn):
    def __init__(self, temperature: float, pool: int) -> None:
        self.temperature, self.pool = temperature, pool

    def odds(self, scores: np.ndarray) -> np.ndarray:
        weights = np.exp((scores[: self.pool] - scores[0]) / self.temperature)
        return weights / weights.sum()
