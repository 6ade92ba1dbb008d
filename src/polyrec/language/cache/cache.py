"""Cached vectors of texts: each text is encoded once. Shape letters: N texts, D width."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from polyrec.core.errors import UserError
from polyrec.core.progress import progress_bar
from polyrec.language.cache.counting import count_texts
from polyrec.language.cache.vector_store import Stored, commit, encoder_key, opened, stored, text_key
from polyrec.language.encoder import TextEncoder, check_texts

CHUNK = 256
"""Number of texts that are encoded and committed at a time: the most that a crash can lose."""

_MUCH = 0.01
"""Share of truncated texts among the newly encoded ones above which a warning is logged."""

_LOGGER = logging.getLogger(__name__)


def encode_cached(encoder: TextEncoder, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (N, D) of texts; encode only those that the cache lacks.

    Equal texts are encoded once. The longest texts come first, so that texts of similar length share a batch and a lack of
    memory shows at once. Any number of processes may share the cache: each commits complete chunks. If two encode the same text
    at the same time, both return the vector that was committed first, bit for bit. A blank text has the vector 0.

    Raises `UserError` for a value that is not a text, and for vectors of the wrong shape or with non-finite numbers.
    """
    check_texts(texts)
    distinct = list(dict.fromkeys(text for text in texts if text.strip()))
    if not distinct:
        return np.zeros((len(texts), encoder.vector_width()), dtype=np.float32)
    vector_of = _cached(encoder, distinct) if encoder.is_cached else _encoded(encoder, distinct)
    table = np.stack([vector_of[text] for text in distinct])
    place = {text: row for row, text in enumerate(distinct)}
    vectors = table[[place.get(text, 0) for text in texts]]
    vectors[[row for row, text in enumerate(texts) if text not in place]] = 0
    return vectors


def _cached(encoder: TextEncoder, distinct: list[str]) -> dict[str, np.ndarray]:
    keys = {text: text_key(text) for text in distinct}
    with opened() as database:
        entries = stored(database, encoder_key(encoder), list(keys.values()))
        missing = sorted((text for text in distinct if keys[text] not in entries), key=len, reverse=True)
        with progress_bar("encoding texts", len(missing)) as bar:
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                vectors = encoder.encode(chunk, bar.advance)
                _check(encoder, vectors, chunk)
                new = zip(chunk, vectors, encoder.truncated(chunk), strict=True)
                entries |= commit(database, encoder, {keys[text]: Stored(vector, bool(cut)) for text, vector, cut in new})
    truncated = sum(entry.truncated for entry in entries.values())
    _report(encoder, len(distinct), [entries[keys[text]].truncated for text in missing], truncated)
    return {text: entries[key].vector for text, key in keys.items()}


def _encoded(encoder: TextEncoder, distinct: list[str]) -> dict[str, np.ndarray]:
    vectors = encoder.encode(distinct)
    _check(encoder, vectors, distinct)
    cut = encoder.truncated(distinct).tolist()
    _report(encoder, len(distinct), cut, sum(cut))
    return dict(zip(distinct, vectors, strict=True))


def _report(encoder: TextEncoder, texts: int, new: list[bool], truncated: int) -> None:
    """Update the running counts, and warn if many of the newly encoded texts, `new`, were truncated."""
    count_texts(texts, len(new), truncated)
    if new and sum(new) > _MUCH * len(new):
        kind, count = type(encoder).__name__, sum(new)
        message = "%s truncates %d of %d texts (%.1f %%): they are longer than the model or its settings allow"
        _LOGGER.warning(message, kind, count, len(new), 100 * count / len(new))


def _check(encoder: TextEncoder, vectors: np.ndarray, texts: Sequence[str]) -> None:
    name, remedy = f"text encoder {type(encoder).__name__}", "Check the model: its vectors are unusable."
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise UserError(name, expected=f"{len(texts)} vectors", found=f"an array of shape {vectors.shape}", remedy=remedy)
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        found = f"NaN or infinity for {len(bad)} of {len(texts)} texts, such as {texts[bad[0]]!r:.80}"
        raise UserError(name, expected="finite numbers", found=found, remedy=remedy)
