"""Continued training from an earlier fit: the check of the declaration, and the transfer of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from polyrec.core.errors import UserError
from polyrec.core.spec import Spec
from polyrec.declaration.declaration import Declaration
from polyrec.model.encoders import Encoders
from polyrec.model.model import Model
from polyrec.predict.predictor import Predictor


def check_start(spec: Declaration, start: Declaration) -> None:
    """Raise `UserError` for the first feature, task or network that differs from the declaration of the start."""
    for field in ("user", "item", "features", "tasks"):
        parts, start_parts = getattr(spec, field), getattr(start, field)
        names, start_names = ([part.name for part in side] for side in (parts, start_parts))
        if names != start_names:
            raise _misfit(f"`{field}`", f"{start_names}", f"{names}")
        for part, start_part in zip(parts, start_parts, strict=True):
            _check_same(f"{'task' if field == 'tasks' else 'feature'} {part.name!r}", part, start_part)
    _check_same("`network`", spec.network, start.network)
    if spec.time != start.time:
        raise _misfit("`time`", repr(start.time), repr(spec.time))


def take_over(model: Model, spec: Declaration, states: Mapping[str, pl.DataFrame], start: Predictor) -> None:
    """Copy the weights of an earlier model to a new one; embedding rows are matched by their ids.

    Before its first training step, the new model predicts the same as the earlier one: a new id starts with the embedding row
    that represented it there.
    """
    before, features = start.parts.feature_states, [feature for feature in spec.all_features if feature.name in states]
    rows = {feature.name: feature.rows_before(states[feature.name], before[feature.name]) for feature in features}
    known = {name: feature_rows for name, feature_rows in rows.items() if feature_rows is not None}
    weights, shapes = start.model.state_dict(), {name: tensor.shape for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor for name, tensor in weights.items() if tensor.shape == shapes[name]}, strict=False)
    for encoders, start_encoders in zip(model.copies, start.model.copies, strict=True):
        assert isinstance(encoders, Encoders) and isinstance(start_encoders, Encoders)
        encoders.take_rows(start_encoders, known)


def _check_same(thing: str, part: Spec, start_part: Spec) -> None:
    if type(part) is not type(start_part):
        raise _misfit(thing, f"a {type(start_part).__name__}", f"a {type(part).__name__}")
    for name in type(part).model_fields:
        value, start_value = getattr(part, name), getattr(start_part, name)
        if value != start_value:
            raise _misfit(thing, _field(name, start_value), _field(name, value))


def _field(name: str, value: Any) -> str:
    return f"{name}={list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value!r}"


def _misfit(thing: str, expected: str, found: str) -> UserError:
    remedy = "Declare it as it was, or leave `start` out and fit from nothing."
    return UserError(f"{thing} of a declaration with a `start`", expected=f"{expected}, as there", found=found, remedy=remedy)
