"""Where: items that meet a condition. Shape letters: N candidates."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import model_validator

from polyrec.data.conditions.expressions import columns_of, meets
from polyrec.data.conditions.reading_sql import read_sql
from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule

_THING = "condition of the rule Where"


class Where(Rule):
    """Shows only items that meet a condition. An item for which the condition is null is left out.

    The condition holds for every list; `recommend(where=…)` sets one for a single request.
    """

    examples = ({"condition": "price < 50"}, {"condition": "genre <> 'war' AND year > 1990"})

    condition: str
    """SQL over the catalogue's columns: columns, values, operators, and functions of one row."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        read_sql(self.condition, _THING)
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        return columns_of(self.condition, _THING)

    def keep(self, candidates: Candidates) -> np.ndarray:
        return meets(candidates.columns(candidates.key, *self.columns), self.condition, _THING).to_numpy()
