"""Vectors of texts, each encoded once in the life of the cache. Shape letters: N texts, D width."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from polyrec.core.errors import UserError
from polyrec.core.progress import progress_bar
from polyrec.language.cache.counting import tell
from polyrec.language.cache.vector_store import Stored, commit, encoder_key, opened, stored, text_key
from polyrec.language.encoder import TextEncoder, check_texts

CHUNK = 256
"""Texts that are encoded and committed at a time: what a crash can cost at most."""

_MUCH = 0.01
"""Share of newly encoded texts that may be cut short without a word."""

_LOGGER = logging.getLogger(__name__)


def encode_cached(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (N, D) of texts, encoding only those that the cache does not hold.

    Equal texts are encoded once, the longest first, so that texts of like length are read together and memory that does not
    suffice fails at once. Any number of processes may share the cache: each commits whole chunks, and where two encode the same
    text at once, both return the vector that was committed first, bit for bit. A blank text has the vector 0.

    Raises `UserError` for what is no text, and where an encoder returns vectors of the wrong shape or that are not finite.
    """
    check_texts(texts)
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    if not distinct:
        return np.zeros((len(texts), encoder.vector_width()), dtype=np.float32)
    found = _cached(encoder, distinct) if encoder.is_cached else _encoded(encoder, distinct)
    table = np.stack([found[text] for text in distinct])
    place = {text: row for row, text in enumerate(distinct)}
    vectors = table[[place.get(text, 0) for text in texts]]
    vectors[[row for row, text in enumerate(texts) if text not in place]] = 0
    return vectors


def _cached(encoder: TextEncoder, distinct: list[str]) -> dict[str, np.ndarray]:
    keys = {text: text_key(text) for text in distinct}
    with opened() as database:
        held = stored(database, encoder_key(encoder), list(keys.values()))
        missing = sorted((text for text in distinct if keys[text] not in held), key=len, reverse=True)
        with progress_bar("encoding texts", len(missing)) as bar:
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                vectors = encoder.encode(chunk, bar.advance)
                _check(encoder, vectors, chunk)
                new = zip(chunk, vectors, encoder.truncated(chunk), strict=True)
                held |= commit(database, encoder, {keys[text]: Stored(vector, bool(cut)) for text, vector, cut in new})
    _tell(encoder, len(distinct), [held[keys[text]].truncated for text in missing], sum(one.truncated for one in held.values()))
    return {text: held[key].vector for text, key in keys.items()}


def _encoded(encoder: TextEncoder, distinct: list[str]) -> dict[str, np.ndarray]:
    vectors = encoder.encode(distinct)
    _check(encoder, vectors, distinct)
    cut = encoder.truncated(distinct).tolist()
    _tell(encoder, len(distinct), cut, sum(cut))
    return dict(zip(distinct, vectors, strict=True))


def _tell(encoder: TextEncoder, texts: int, new: list[bool], truncated: int) -> None:
    tell(texts, len(new), truncated)
    if new and sum(new) > _MUCH * len(new):
        kind, count = type(encoder).__name__, sum(new)
        told = "%s reads %d of %d texts (%.1f %%) not to their end, for they are longer than it can read or may read"
        _LOGGER.warning(told, kind, count, len(new), 100 * count / len(new))


def _check(encoder: TextEncoder, vectors: np.ndarray, texts: Sequence[str]) -> None:
    name, remedy = f"text encoder {type(encoder).__name__}", "Check the model: its vectors are of no use."
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise UserError(name, expected=f"{len(texts)} vectors", found=f"an array of shape {vectors.shape}", remedy=remedy)
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        found = f"NaN or infinity for {len(bad)} of {len(texts)} texts, such as {texts[bad[0]]!r:.80}"
        raise UserError(name, expected="finite numbers", found=found, remedy=remedy)
