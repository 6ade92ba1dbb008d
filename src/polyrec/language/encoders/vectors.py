"""Vectors of texts for every kind of encoder. Shape letters: N texts, D vector width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from polyrec.language.cache.cache import encode_cached
from polyrec.language.encoder import LearnedEncoder, TextEncoder


def learn(encoder: TextEncoder, texts: Sequence[str]) -> pl.DataFrame:
    """Fit an encoder on distinct training texts and return its state; a frame without columns if it needs no fit."""
    return encoder.learn(texts) if isinstance(encoder, LearnedEncoder) else pl.DataFrame()


def vectors(encoder: TextEncoder, texts: Sequence[str], learned: pl.DataFrame) -> np.ndarray:
    """Return the vectors (N, D) of texts, by the encoder's state or through the cache."""
    if isinstance(encoder, LearnedEncoder):
        return encoder.encode_learned(texts, learned)
    return encode_cached(encoder, texts)
