"""The texts of a report's catalogue that look planted."""

from __future__ import annotations

from typing import Any

from polyrec.compare.text.outliers import FEWEST, find_outliers
from polyrec.data.tables import Tables, join
from polyrec.features.text import Text
from polyrec.language.encoders.static_vectors import StaticVectors
from polyrec.language.encoders.transformer import TransformerEncoder
from polyrec.recommender import Recommender

SHOWN = 20
"""Texts of each feature that are told, the most suspect."""


def planted(spec: Recommender, tables: Tables) -> dict[str, Any]:
    """Return, by Text of the item, how many of its distinct texts were looked at and look planted, and the most suspect.

    A text is looked at in windows of a few words, so this is done where the encoder is a model at hand: an endpoint would be
    paid for every window, and vectors given or learned know no windows.
    """
    wide = join(tables, spec.key(spec.user), spec.key(spec.item)).frame
    found: dict[str, Any] = {}
    for feature in spec.item:
        if not isinstance(feature, Text) or not isinstance(feature.encoder, TransformerEncoder | StaticVectors):
            continue
        texts = feature.render(wide).unique(maintain_order=True)
        known = texts.filter(texts != "").to_list()
        if len(known) < FEWEST:
            continue
        suspects = find_outliers(known, feature.encoder)
        rows = suspects.select("text", "phrase", "deviation").head(SHOWN).to_dicts()
        found[feature.name] = {"texts": len(known), "suspects": suspects.height, "shown": rows}
    return found
