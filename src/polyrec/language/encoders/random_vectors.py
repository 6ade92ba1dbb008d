"""RandomVectors: a text's own vector, drawn at random. Shape letters: N texts, D width."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field, JsonValue

from polyrec.language.encoder import TextEncoder


class RandomVectors(TextEncoder):
    """A control: equal texts have equal vectors, and nothing else of a text is in them.

    A vector is drawn from N(0, I / width) by a generator whose seed is the text's hash. What a model gains from it over no text
    is what it gains by telling items apart, as an id does; similar texts are no more alike than others.
    """

    examples = ({}, {"width": 16, "seed": 1})

    width: int = Field(default=384, gt=0)
    """Length of a vector."""
    seed: int = 0
    """Seed of all vectors."""

    def identity(self) -> Mapping[str, JsonValue]:
        return self.model_dump(mode="json")

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        vectors_ND = np.empty((len(texts), self.width), dtype=np.float32)
        for row, text in enumerate(texts):
            seed = hashlib.sha256(f"{self.seed}\n{text}".encode()).digest()
            vectors_ND[row] = np.random.default_rng(list(seed)).normal(scale=self.width**-0.5, size=self.width)
        on_done(len(texts))
        return vectors_ND
