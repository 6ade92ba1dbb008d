"""EpsilonGreedy: now and then any candidate of a pool."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule, Turn


class EpsilonGreedy(Rule):
    """Fills each position by the best candidate with probability `1 - epsilon`, else by one of a pool, each as likely.

    The pool are the best candidates that are left, the very best among them, so that its propensity at a position is
    `1 - epsilon + epsilon / m` in a pool of m and that of the others `epsilon / m` (Sutton & Barto, 1998). What was shown may
    then serve to judge other rankings by inverse propensities.
    """

    examples = ({}, {"epsilon": 0.5, "pool": 4})
    explores = True

    epsilon: float = Field(default=0.1, ge=0, le=1)
    """Probability to explore at a position."""
    pool: int = Field(default=100, ge=1)
    """Number of the best candidates left, of which one is drawn."""

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
