"""A reward model fitted on the log itself, cross-fitted: ridge regression on columns of the candidates.

Shape letters: N rows of the log, M candidates, P columns of the design, F folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns

FOLDS = 5
"""Parts of the users; each part's rewards are predicted by the model of the others."""

PENALTY = 1.0
"""Penalty on the squared coefficients, as if every one had been seen once at zero; the intercept has none."""

_MOST_COLUMNS = 2000
_PIECE = 8192


def cross_fit(
    shown: pl.DataFrame,
    candidates: pl.DataFrame,
    reward_N: np.ndarray,
    cluster_N: np.ndarray,
    cluster_M: np.ndarray,
    features: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted rewards of the rows shown (N,) and of the candidates (M,).

    Numbers enter as they are, standardised, their nulls at the mean; other columns enter with one coefficient a value, and so
    does the rank. Users are dealt into folds, so that the model that speaks of a row has seen none of its user's: that is
    what keeps the doubly robust estimate and its interval right (Chernozhukov et al., Econometrics Journal 2018).
    """
    require_columns(candidates, features, "`features` of the candidates")
    both = pl.concat([shown.select("rank", *features), candidates.select("rank", *features)])
    encoders = _encoders(both, features)
    fold_C = np.random.default_rng(0).permutation(int(cluster_N.max()) + 1) % FOLDS
    fold_N, fold_M = fold_C[cluster_N], fold_C[cluster_M]
    width = len(encoders)
    gram_FPP, moment_FP = np.zeros((FOLDS, width, width)), np.zeros((FOLDS, width))
    for start in range(0, len(reward_N), _PIECE):
        part = slice(start, start + _PIECE)
        x_BP = _design(shown[part], encoders)
        for fold in range(FOLDS):
            own_BP = x_BP[fold_N[part] == fold]
            gram_FPP[fold] += own_BP.T @ own_BP
            moment_FP[fold] += own_BP.T @ reward_N[part][fold_N[part] == fold]
    penalty_P = np.full(width, PENALTY)
    penalty_P[0] = 0
    others_FPP = gram_FPP.sum(0) - gram_FPP + np.diag(penalty_P)
    coefficient_FP = np.linalg.solve(others_FPP, (moment_FP.sum(0) - moment_FP)[:, :, None])[:, :, 0]
    return _predict(shown, encoders, coefficient_FP, fold_N), _predict(candidates, encoders, coefficient_FP, fold_M)


def _encoders(both: pl.DataFrame, features: Sequence[str]) -> list[pl.Expr]:
    """Return an expression for each column of the design, the intercept first."""
    encoders = [pl.lit(1.0)]
    for name in ("rank", *features):
        column = both[name]
        if name != "rank" and column.dtype.is_numeric():
            values = column.cast(pl.Float64)
            mean, deviation = float(values.mean() or 0), float(values.std() or 0)  # type: ignore[arg-type]
            encoders.append((pl.col(name).cast(pl.Float64).fill_null(mean) - mean) / (deviation or 1.0))
        else:
            values = column.drop_nulls().unique(maintain_order=True)
            encoders += [(pl.col(name) == value).fill_null(False).cast(pl.Float64) for value in values]
    if len(encoders) > _MOST_COLUMNS:
        found = f"{len(encoders)} columns of the design"
        remedy = "Give numbers, or columns of fewer values."
        raise UserError("`features` of the reward model", expected=f"{_MOST_COLUMNS} at most", found=found, remedy=remedy)
    return encoders


def _design(rows: pl.DataFrame, encoders: Sequence[pl.Expr]) -> np.ndarray:
    return rows.select(encoder.alias(str(place)) for place, encoder in enumerate(encoders)).to_numpy()


def _predict(rows: pl.DataFrame, encoders: Sequence[pl.Expr], coefficient_FP: np.ndarray, fold_N: np.ndarray) -> np.ndarray:
    found_N = np.zeros(rows.height)
    for start in range(0, rows.height, _PIECE):
        part = slice(start, start + _PIECE)
        said_BF = _design(rows[part], encoders) @ coefficient_FP.T
        found_N[part] = said_BF[np.arange(len(said_BF)), fold_N[part]]
    return found_N
