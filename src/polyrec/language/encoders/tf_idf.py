"""TfIdf: weighted word counts, reduced by an SVD. Shape letters: N texts, V terms, D width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, JsonValue

from polyrec.core.errors import UserError, missing_extra
from polyrec.language.encoder import LearnedEncoder


class TfIdf(LearnedEncoder):
    """Counts of words and word pairs, weighted by rarity and reduced to few dimensions: the baseline of every language model.

    A term t of a text has the weight `(1 + log count) (1 + log((1 + n) / (1 + n_t)))`, where n_t of the n training texts
    contain it (Salton and Buckley, Information Processing and Management 1988, with scikit-learn's smoothing); the weights of a
    text are normalised to length 1. Latent semantic analysis (Deerwester et al., JASIS 1990), a truncated SVD of the training
    texts' weights, maps them to `components` numbers. Terms of no training text are ignored. State: `term`,
    `inverse_frequency`, `component`.
    """

    examples = ({}, {"longest": 1, "components": 4, "minimum_count": 1})

    longest: int = Field(default=2, ge=1)
    """Maximum number of consecutive words of a term."""
    minimum_count: int = Field(default=2, ge=1)
    """Minimum number of training texts that contain a term."""
    terms: int = Field(default=50_000, gt=0)
    """Maximum number of terms; the most frequent ones are kept."""
    components: int = Field(default=384, gt=0)
    """Width of a vector; smaller if there are fewer training texts or terms."""

    def identity(self) -> Mapping[str, JsonValue]:
        return self.model_dump(mode="json")

    def learn(self, texts: Sequence[str]) -> pl.DataFrame:
        try:
            from sklearn.decomposition import TruncatedSVD
        except ImportError as error:
            raise missing_extra("scikit-learn", "language", "TF-IDF") from error
        vectorizer = self._vectorizer(min_df=min(self.minimum_count, len(texts)), max_features=self.terms)
        try:
            weights_NV = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise UserError(
                "TF-IDF",
                expected=f"training texts that share terms, each in {self.minimum_count} texts or more",
                found=f"none among {len(texts)} texts",
                remedy="Lower `minimum_count`, or check what the template renders.",
            ) from error
        width = max(1, min(self.components, *(size - 1 for size in weights_NV.shape)))
        with np.errstate(invalid="ignore"):  # the variance is zero if all texts are equal
            svd = TruncatedSVD(width, random_state=0).fit(weights_NV)
        components_VD = svd.components_.T.astype(np.float32)
        terms = vectorizer.get_feature_names_out()
        return pl.DataFrame({"term": terms, "inverse_frequency": vectorizer.idf_}).with_columns(
            component=pl.Series(components_VD, dtype=pl.Array(pl.Float32, width))
        )

    def encode_learned(self, texts: Sequence[str], learned: pl.DataFrame) -> np.ndarray:
        vectorizer = self._vectorizer(vocabulary=learned["term"].to_list())
        vectorizer.idf_ = learned["inverse_frequency"].to_numpy()
        return np.asarray(vectorizer.transform(texts) @ learned["component"].to_numpy(), dtype=np.float32)

    def _vectorizer(self, **settings: Any) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(ngram_range=(1, self.longest), sublinear_tf=True, dtype=np.float64, **settings)
