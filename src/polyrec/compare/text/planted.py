"""Texts of the catalogue that look planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyrec.compare.text.outliers import FEWEST, find_outliers
from polyrec.data.tables import Tables, join
from polyrec.features.text import Text
from polyrec.language.encoders.static_vectors import StaticVectors
from polyrec.language.encoders.transformer import TransformerEncoder
from polyrec.recommender import Recommender

SHOWN = 20
"""Number of the most suspect texts reported for each feature."""


@dataclass(frozen=True)
class Suspect:
    """A text that looks planted."""

    text: str
    """The text."""
    phrase: str
    """Words of the text that are unlike the catalogue."""
    deviation: float
    """How far the phrase lies from the catalogue; larger is more suspect."""


@dataclass(frozen=True)
class Planted:
    """The texts of one feature that look planted."""

    texts: int
    """Number of distinct texts examined."""
    suspects: int
    """Number of texts that look planted."""
    shown: Sequence[Suspect]
    """The most suspect texts."""

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Planted:
        """Read the entry of a feature in text-report.json."""
        return cls(document["texts"], document["suspects"], [Suspect(**suspect) for suspect in document["shown"]])


def planted(spec: Recommender, tables: Tables) -> dict[str, Planted]:
    """Return the texts that look planted, by Text feature of the item.

    Texts are examined in windows of a few words. This needs a local encoder model: an endpoint charges for every window, and
    given or learned vectors cannot encode windows.
    """
    wide = join(tables, spec.key(spec.user), spec.key(spec.item)).frame
    by_feature: dict[str, Planted] = {}
    for feature in spec.item:
        if not isinstance(feature, Text) or not isinstance(feature.encoder, TransformerEncoder | StaticVectors):
            continue
        texts = feature.render(wide).unique(maintain_order=True)
        distinct = texts.filter(texts != "").to_list()
        if len(distinct) < FEWEST:
            continue
        suspects = find_outliers(distinct, feature.encoder)
        rows = suspects.select("text", "phrase", "deviation").head(SHOWN)
        shown = [Suspect(**row) for row in rows.iter_rows(named=True)]
        by_feature[feature.name] = Planted(len(distinct), suspects.height, shown)
    return by_feature
