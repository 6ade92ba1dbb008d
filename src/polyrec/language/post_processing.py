"""PostProcessing: a fixed transformation of a frozen model's vectors before training.

Shape letters: N texts, D width of a vector, C components kept.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from polyrec.core.spec import Spec

_ALIKE = 1e-5
"""Deviation, relative to the vectors' size, below which vectors differ only by rounding."""


class PostProcessing(Spec):
    """Centring, principal components, whitening and normalisation, fitted on the distinct training texts.

    Vectors of language models lie in a narrow cone: all are similar, and few directions carry the differences. With the mean m
    and the covariance `U diag(v) U^T` of the training texts' vectors,

    - `scale`: `(x - m) / s`, where s is the overall deviation.
    - `components`: `(x - m) U / s`: the `width` principal components of largest variance (Pearson, 1901).
    - `whiten`: `(x - m) U diag(v + e)^(-1/2)`: each component has unit variance (Huang et al., WhiteningBERT, EMNLP Findings
      2021; Su et al., 2021); e is the mean variance times `ridge`, so that directions of noise stay small.

    State: `mean`, `scale` and, except for the methods `none` and `scale`, `map`, with one row for each of the D dimensions.
    """

    method: Literal["none", "scale", "components", "whiten"] = "scale"
    """Transformation of a vector."""
    width: int | None = Field(default=None, gt=0)
    """Number of components kept, those of largest variance; unset, all."""
    ridge: float = Field(default=1e-3, ge=0)
    """Constant added to each variance before whitening, as a share of their mean."""
    normalise: bool = False
    """Set to scale vectors to length 1 at the end."""

    @model_validator(mode="after")
    def _width_of_components(self) -> Self:
        if self.width is not None and self.method in ("none", "scale"):
            raise ValueError(
                f"`width` is the number of components kept, and {self.method!r} has none: use components or whiten"
            )
        return self

    def fit(self, vectors_ND: np.ndarray) -> pl.DataFrame:
        """Fit the state on the vectors of distinct training texts, at least one."""
        vectors_ND = vectors_ND.astype(np.float64)
        mean_D = vectors_ND.mean(0)
        centred_ND = vectors_ND - mean_D
        deviation, size = np.sqrt(np.square(centred_ND).mean()), np.sqrt(np.square(vectors_ND).mean())
        scale = float(deviation) if deviation > _ALIKE * size else 1.0
        if self.method == "none":
            mean_D, scale = np.zeros_like(mean_D), 1.0
        state = pl.DataFrame({"mean": mean_D, "scale": np.full(len(mean_D), scale)})
        if self.method in ("none", "scale"):
            return state
        variance_D, direction_DD = np.linalg.eigh(centred_ND.T @ centred_ND / len(centred_ND))
        largest = slice(None, None, -1) if self.width is None else slice(-1, -1 - self.width, -1)
        map_DC, variance_C = direction_DD[:, largest], variance_D.clip(min=0)[largest]
        map_DC = map_DC * np.sign(map_DC[np.abs(map_DC).argmax(0), np.arange(map_DC.shape[1])])
        if self.method == "whiten":
            added = max(self.ridge * float(variance_D.clip(min=0).mean()), np.finfo(np.float64).tiny)
            state = state.with_columns(scale=pl.lit(1.0))
            map_DC = map_DC / np.sqrt(variance_C + added)
        return state.with_columns(map=pl.Series(map_DC, dtype=pl.Array(pl.Float64, map_DC.shape[1])))

    def apply(self, vectors_ND: np.ndarray, state: pl.DataFrame) -> np.ndarray:
        """Return the processed vectors (N, C) in float32."""
        processed = (vectors_ND.astype(np.float64) - state["mean"].to_numpy()) / state["scale"].to_numpy()
        if "map" in state.columns:
            processed = processed @ state["map"].to_numpy()
        if self.normalise:
            length_N1 = np.linalg.norm(processed, axis=1, keepdims=True)
            processed = processed / np.where(length_N1 > 0, length_N1, 1.0)
        return processed.astype(np.float32)


def processed_width(state: pl.DataFrame) -> int:
    """Return the width of a processed vector."""
    kind = state.schema.get("map")
    return kind.size if isinstance(kind, pl.Array) else len(state)


def mean_cosine(vectors_ND: np.ndarray) -> float:
    """Return the mean cosine of two different texts: near 0 if vectors distinguish texts, near 1 if all are similar."""
    length_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    unit_ND = (vectors_ND / np.where(length_N1 > 0, length_N1, 1.0)).astype(np.float64)
    count = len(unit_ND)
    return float((np.square(unit_ND.sum(0)).sum() - np.square(unit_ND).sum()) / max(count * (count - 1), 1))


def effective_rank(vectors_ND: np.ndarray) -> float:
    """Return the effective number of directions of vectors (Roy and Vetterli, EUSIPCO 2007).

    It is `exp(-sum p log p)`, where p are the singular values of the centred vectors divided by their sum.
    """
    centred_ND = vectors_ND.astype(np.float64) - vectors_ND.mean(0, dtype=np.float64)
    singular_D = np.sqrt(np.linalg.eigvalsh(centred_ND.T @ centred_ND).clip(min=0))
    total = singular_D.sum()
    share_D = singular_D[singular_D > 0] / total if total > 0 else np.ones(1)
    return float(np.exp(-(share_D * np.log(share_D)).sum()))
