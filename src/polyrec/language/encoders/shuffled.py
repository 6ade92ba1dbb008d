"""Shuffled: the vectors of another encoder, dealt out to the wrong texts. Shape letters: N texts, D width."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from pydantic import JsonValue

from polyrec.core.frames import pack, unpack
from polyrec.language.encoder import LearnedEncoder, TextEncoder
from polyrec.language.encoders.vectors import learn, vectors


class Shuffled(LearnedEncoder):
    """A control: each text has the vector of another training text, always the same one.

    The vectors are the encoder's own, with all that is common to them (their cone, their widths); only whose they are is
    wrong. What a model keeps of its gain under it was not owed to what the texts say. A text that no training row holds has the
    vector of the training text that its hash points at. Learned: `partners`, a text and whose vector it has, and what the
    encoder learned.
    """

    examples = ({"encoder": {"kind": "RandomVectors", "width": 8}}, {"encoder": {"kind": "Package"}, "seed": 1})

    encoder: TextEncoder
    """Where the vectors come from."""
    seed: int = 0
    """Seed of the order."""

    def identity(self) -> Mapping[str, JsonValue]:
        return {"shuffled": self.seed, **self.encoder.identity()}

    def learn(self, texts: Sequence[str]) -> pl.DataFrame:
        order = np.random.default_rng(self.seed).permutation(len(texts))
        partner = np.empty(len(texts), dtype=np.int64)
        partner[order] = np.roll(order, 1)
        partners = pl.DataFrame({"text": list(texts), "partner": [texts[int(place)] for place in partner.tolist()]})
        return pl.DataFrame({"partners": pack(partners), "learned": pack(learn(self.encoder, texts))})

    def encode_learned(self, texts: Sequence[str], learned: pl.DataFrame) -> np.ndarray:
        partners = unpack(learned["partners"])
        known: dict[str, str] = dict(partners.iter_rows())
        others: list[str] = partners["text"].to_list()
        dealt = [known[text] if text in known else others[_place(text, len(others))] for text in texts]
        return vectors(self.encoder, dealt, unpack(learned["learned"]))


def _place(text: str, count: int) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % count
