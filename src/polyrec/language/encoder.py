"""`TextEncoder`: a frozen model that turns texts into vectors. Shape letters: N texts, D vector width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import polars as pl
from pydantic import JsonValue

from polyrec.core.errors import UserError
from polyrec.core.spec import Family


class TextEncoder(Family, family="encoders"):
    """Texts in, vectors out. A vector depends on its text and on `identity()`, on nothing else; a blank text's is 0."""

    is_cached: ClassVar[bool] = True
    """Whether its vectors are worth keeping: not where they are read from a file in the first place."""

    def identity(self) -> Mapping[str, JsonValue]:
        """Return everything that determines a vector besides the text: model, content, pooling, prompt, length."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Return the vectors (N, D) in float32; `on_done` is told how many texts were finished, piece by piece."""
        raise NotImplementedError

    def truncated(self, texts: Sequence[str]) -> np.ndarray:
        """Return for each text (N) whether its end is not read, for want of room."""
        return np.zeros(len(texts), dtype=bool)

    def vector_width(self) -> int:
        """Return the width D of a vector."""
        return self.encode([""]).shape[1]

    def pinned(self) -> Self:
        """Return the same encoder with fixed what may change under its name, so that it encodes alike next year."""
        return self


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what is no text, and text that UTF-8 cannot hold: half of a pair of surrogates, left by a wrong decoding."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            remedy = "Give texts, '' where there is none."
            raise UserError(f"text {place + 1} of {len(texts)}", expected="a string", found=f"{text!r:.80}", remedy=remedy)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"text {place + 1} of {len(texts)}",
                expected="text that UTF-8 can hold",
                found=f"the lone surrogate {text[error.start]!a} at character {error.start + 1}",
                remedy="Read the file in the encoding that it was written in, or drop such characters.",
            ) from error


class LearnedEncoder(TextEncoder, kind=False):
    """An encoder that is fitted on training texts. Its vectors are cheap and depend on what it learned: no cache keeps them."""

    def learn(self, texts: Sequence[str]) -> pl.DataFrame:
        """Return what distinct training texts, at least one, teach: a frame that is saved with the feature."""
        raise NotImplementedError

    def encode_learned(self, texts: Sequence[str], learned: pl.DataFrame) -> np.ndarray:
        """Return the vectors (N, D) in float32."""
        raise NotImplementedError
