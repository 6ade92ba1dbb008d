"""PlackettLuce: positions drawn from a softmax of the scores."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class PlackettLuce(Rule):
    """Draws each position from a pool with probability `exp(s_i / temperature) / sum_j exp(s_j / temperature)`.

    The pool holds the best remaining candidates; a pool of all candidates gives the model of Plackett (1975) and Luce (1959).
    Unlike EpsilonGreedy, it rarely shows items whose score is far below the best.
    """

    examples = ({"temperature": 0.1}, {"temperature": 1.0, "pool": 4})
    explores = True

    temperature: float = Field(gt=0)
    """Temperature in the unit of the score, or of Diversify's value (0 to 1): the higher, the more random the list."""
    pool: int = Field(default=100, ge=1)
    """Number of the best remaining candidates to draw from."""

    def begin(self, candidates: Candidates) -> Turn:
        return _Softmax(self.temperature, self.pool)


class _Softmax(Turn):
    def __init__(self, temperature: float, pool: int) -> None:
        self.temperature, self.pool = temperature, pool

    def odds(self, scores: np.ndarray) -> np.ndarray:
        weights = np.exp((scores[: self.pool] - scores[0]) / self.temperature)
        return weights / weights.sum()
