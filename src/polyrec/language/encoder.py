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
    """Maps texts to vectors. A vector depends only on its text and on `identity()`; the vector of a blank text is 0."""

    is_cached: ClassVar[bool] = True
    """Whether the vectors are cached; unnecessary if they are read from a file."""

    def identity(self) -> Mapping[str, JsonValue]:
        """Return everything that determines a vector apart from the text: model, content, pooling, prompt, length."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str], on_done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Return the vectors (N, D) in float32; `on_done` receives the number of texts finished since its last call."""
        raise NotImplementedError

    def truncated(self, texts: Sequence[str]) -> np.ndarray:
        """Return a mask (N,) of the texts that are truncated."""
        return np.zeros(len(texts), dtype=bool)

    def vector_width(self) -> int:
        """Return the width D of a vector."""
        return self.encode([""]).shape[1]

    def pinned(self) -> Self:
        """Return this encoder with its model version fixed, so that its vectors do not change later."""
        return self


def check_texts(texts: Sequence[str]) -> None:
    """Raise `UserError` for a value that is not a text, or for a lone surrogate, which UTF-8 cannot encode.

    Lone surrogates come from reading a file in the wrong encoding.
    """
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            remedy = "Pass texts, and '' for a missing one."
            raise UserError(f"text {place + 1} of {len(texts)}", expected="a string", found=f"{text!r:.80}", remedy=remedy)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"text {place + 1} of {len(texts)}",
                expected="text that UTF-8 can encode",
                found=f"the lone surrogate {text[error.start]!a} at character {error.start + 1}",
                remedy="Read the file in the encoding that it was written in, or remove such characters.",
            ) from error


class LearnedEncoder(TextEncoder, kind=False):
    """An encoder that is fitted on training texts. Its vectors are cheap and depend on the fit, so they are not cached."""

    def learn(self, texts: Sequence[str]) -> pl.DataFrame:
        """Fit on distinct training texts, at least one; return the state, a frame that is saved with the feature."""
        raise NotImplementedError

    def encode_learned(self, texts: Sequence[str], learned: pl.DataFrame) -> np.ndarray:
        """Return the vectors (N, D) in float32, given the state that `learn` returned."""
        raise NotImplementedError
