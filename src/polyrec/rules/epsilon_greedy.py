"""EpsilonGreedy: sometimes a random candidate of a pool."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class EpsilonGreedy(Rule):
    """Fills each position with the best candidate with probability `1 - epsilon`, else with a uniform draw from a pool.

    The pool holds the m best remaining candidates. The best one has the propensity `1 - epsilon + epsilon / m`, each of the
    others `epsilon / m` (Sutton & Barto, 1998). The lists that were shown can then evaluate other rankings by inverse
    propensity weighting.
    """

    examples = ({}, {"epsilon": 0.5, "pool": 4})
    explores = True

    epsilon: float = Field(default=0.1, ge=0, le=1)
    """Probability of a draw from the pool at a position."""
    pool: int = Field(default=100, ge=1)
    """Number of the best remaining candidates to draw from."""

    def begin(self, candidates: Candidates) -> Turn:
        return _Epsilon(self.epsilon, self.pool)


class _Epsilon(Turn):
    def __init__(self, epsilon: float, pool: int) -> None:
        self.epsilon, self.pool = epsilon, pool

    def odds(self, scores: np.ndarray) -> np.ndarray:
        size = min(self.pool, len(scores))
        odds = np.full(size, self.epsilon / size)
        odds[0] += 1 - self.epsilon
        return odds
