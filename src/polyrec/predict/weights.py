"""The fusion weights of each user. Shape letters: N users, K width of a feature."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import torch
from torch import Tensor

from polyrec.core.errors import UserError, nearest
from polyrec.data.encoding import encode_features
from polyrec.data.log import USER
from polyrec.data.prepared import Prepared
from polyrec.fusion.context import Context
from polyrec.predict.outputs import BATCH
from polyrec.predict.predictor import Predictor


def weights_of(fitted: Predictor, users: pl.DataFrame) -> pl.DataFrame:
    """Return users with their fusion weights; `Fitted.weights_of` documents the columns."""
    fusion = fitted.spec.fusion
    scalar = [task.name for task in fitted.spec.tasks if task.is_scalar]
    context = Context(features=_vectors(fitted, _completed(fitted, users), fusion.features_of()))
    weights = fusion.weights_of(scalar, fitted.parts.fusion_states, context)
    return users.with_columns(
        pl.Series(f"weight.{name}", weight_N.expand(users.height).numpy()) for name, weight_N in weights.items()
    )


def _completed(fitted: Predictor, users: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that features of the user and of the row read: given values, else known values by key, else null."""
    known, key = fitted.catalogue.users, fitted.user_key
    for name in users.columns:
        if name not in known.kinds:
            expected, remedy = "a column of the user's side or of the row", nearest(name, known.kinds)
            raise UserError(f"column {name!r} of the users", expected=expected, found="no such column", remedy=remedy)
    rows = users.select(pl.col(name).cast(known.kinds[name], strict=False) for name in users.columns)
    missing = [name for name in known.kinds if name not in rows.columns]
    if key in rows.columns:
        return rows.join(known.frame.select(key, *missing).drop_nulls(key), on=key, how="left", maintain_order="left")
    return rows.with_columns(pl.lit(None, known.kinds[name]).alias(name) for name in missing)


def _vectors(fitted: Predictor, rows: pl.DataFrame, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the vectors (N, K) of some features of the user and of the row, by name."""
    if not names:
        return {}
    catalogue, spec = fitted.catalogue, fitted.spec
    only = [feature.name for feature in (*spec.user, *spec.features)]
    who, log = rows.select(pl.col(fitted.user_key).alias(USER)), catalogue.log if spec.reads_log else None
    columns = encode_features(rows, spec.all_features, fitted.parts.feature_states, log, who, only)
    batches = [*Prepared.of_inputs(columns, rows.height).batches(BATCH)]
    with torch.inference_mode():
        return {name: torch.cat([fitted.model.encode(batch, [name]) for batch in batches]) for name in names}
