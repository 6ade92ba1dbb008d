"""A reward model that is cross-fitted on the log: ridge regression on columns of the candidates.

Shape letters: N rows of the log, M candidates, P columns of the design, F folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import require_columns

FOLDS = 5
"""Number of folds of users; a model fitted on the other folds predicts the rewards of a fold."""

PENALTY = 1.0
"""Ridge penalty, as if every coefficient had been observed once at zero; the intercept is not penalised."""

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

    Numeric columns are standardised, with nulls at the mean; other columns and the rank are one-hot encoded. Users are divided
    into folds, so that the model that predicts a row was fitted without the rows of its user. The doubly robust estimate and
    its interval depend on this (Chernozhukov et al., Econometrics Journal 2018).
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
            fold_BP = x_BP[fold_N[part] == fold]
            gram_FPP[fold] += fold_BP.T @ fold_BP
            moment_FP[fold] += fold_BP.T @ reward_N[part][fold_N[part] == fold]
    penalty_P = np.full(width, PENALTY)
    penalty_P[0] = 0
    others_FPP = gram_FPP.sum(0) - gram_FPP + np.diag(penalty_P)
    coefficient_FP = np.linalg.solve(others_FPP, (moment_FP.sum(0) - moment_FP)[:, :, None])[:, :, 0]
    return _predict(shown, encoders, coefficient_FP, fold_N), _predict(candidates, encoders, coefficient_FP, fold_M)


def _encoders(both: pl.DataFrame, features: Sequence[str]) -> list[pl.Expr]:
    """Return an expression for each column of the design matrix, the intercept first."""
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
        expected, found = f"at most {_MOST_COLUMNS} columns of the design matrix", f"{len(encoders)}"
        remedy = "Use numeric columns, or columns with fewer values."
        raise UserError("`features` of the reward model", expected=expected, found=found, remedy=remedy)
    return encoders


def _design(rows: pl.DataFrame, encoders: Sequence[pl.Expr]) -> np.ndarray:
    return rows.select(encoder.alias(str(place)) for place, encoder in enumerate(encoders)).to_numpy()


def _predict(rows: pl.DataFrame, encoders: Sequence[pl.Expr], coefficient_FP: np.ndarray, fold_N: np.ndarray) -> np.ndarray:
    predicted_N = np.zeros(rows.height)
    for start in range(0, rows.height, _PIECE):
        part = slice(start, start + _PIECE)
        predicted_BF = _design(rows[part], encoders) @ coefficient_FP.T
        predicted_N[part] = predicted_BF[np.arange(len(predicted_BF)), fold_N[part]]
    return predicted_N
