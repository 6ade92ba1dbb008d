"""RandomVectors: one random vector per distinct text. Shape letters: N texts, D width."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from polyrec.language.encoder import TextEncoder


class RandomVectors(TextEncoder):
    """A control: equal texts have equal vectors, which contain nothing else about the text.

    A vector is drawn from N(0, I / width) by a generator seeded with the text's hash. The gain over a model without texts is
    the gain of distinguishing items, as an id does; similar texts have unrelated vectors.
    """

    examples = ({}, {"width": 16, "seed": 1})

    width: int = Field(default=384, gt=0)
    """Width of a vector."""
    seed: int = 0
    """Seed of all vectors, combined with each text."""

    def identity(self) -> Mapping[str, JsonValue]:
        return self.model_dump(mode="json")

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        vectors_ND = np.empty((len(texts), self.width), dtype=np.float32)
        for row, text in enumerate(texts):
            seed = hashlib.sha256(f"{self.seed}\n{text}".encode()).digest()
            vectors_ND[row] = np.random.default_rng(list(seed)).normal(scale=self.width**-0.5, size=self.width)
        on_done(len(texts))
        return vectors_ND
