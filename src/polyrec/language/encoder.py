"""`TextEncoder`: a frozen model that turns texts into vectors. Shape letters: N texts, D vector width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from pydantic import JsonValue

from polyrec.core.spec import Family


class TextEncoder(Family, family="encoders"):
    """Texts in, vectors out. A vector depends on its text and on `identity()`, on nothing else."""

    def identity(self) -> Mapping[str, JsonValue]:
        """Return everything that determines a vector besides the text: model, content, pooling, prompt, length."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Return the vectors (N, D) in float32; `on_done` is told how many texts were finished, piece by piece."""
        raise NotImplementedError


class _LearnedEncoder(TextEncoder):
    """An encoder that is fitted on training texts. Its vectors are cheap and depend on what it learned: no cache keeps them."""

    def learn(self, texts: Sequence[str]) -> pl.DataFrame:
        """Return what distinct training texts, at least one, teach: a frame that is saved with the feature."""
        raise NotImplementedError

    def encode_learned(self, texts: Sequence[str], learned: pl.DataFrame) -> np.ndarray:
        """Return the vectors (N, D) in float32."""
        raise NotImplementedError
