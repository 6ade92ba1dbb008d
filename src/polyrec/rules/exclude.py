"""Exclude: items that are never shown. Shape letters: N candidates."""

from __future__ import annotations

import numpy as np
from pydantic import Field, StrictInt, StrictStr

from polyrec.rules.candidates import Candidates
from polyrec.rules.rule import Rule


class Exclude(Rule):
    """Removes items by key. Keys that the catalogue lacks are ignored, because sold-out items may have left it."""

    examples = ({"items": ["a"]}, {"items": ["b", "c"]})

    items: tuple[StrictInt | StrictStr, ...] = Field(strict=False)
    """Keys of the items; `"42"` and 42 are the same key."""

    def keep(self, candidates: Candidates) -> np.ndarray:
        keep_N = np.ones(len(candidates), dtype=bool)
        keep_N[[place for place in candidates.places(self.items) if place is not None]] = False
        return keep_N
