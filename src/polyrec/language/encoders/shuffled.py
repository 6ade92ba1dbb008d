"""Shuffled: the vectors of another encoder, assigned to the wrong texts. Shape letters: N texts, D width."""

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

    The vectors keep their distribution (their cone, their scales); only their assignment to texts is wrong. A gain that remains
    under this control is not due to the content of the texts. A text that is in no training row has the vector of a training
    text chosen by its hash. State: `partners`, each text with the text whose vector it has, and the encoder's state.
    """

    examples = ({"encoder": {"kind": "RandomVectors", "width": 8}}, {"encoder": {"kind": "Package"}, "seed": 1})

    encoder: TextEncoder
    """Encoder of the vectors."""
    seed: int = 0
    """Seed of the permutation."""

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
        partner_of: dict[str, str] = dict(partners.iter_rows())
        training: list[str] = partners["text"].to_list()
        assigned = [partner_of[text] if text in partner_of else training[_place(text, len(training))] for text in texts]
        return vectors(self.encoder, assigned, unpack(learned["learned"]))


def _place(text: str, count: int) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % count
