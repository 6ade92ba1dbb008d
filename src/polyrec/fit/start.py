"""Training that continues from an earlier fit: whether a declaration permits it, and which weights the model copies."""

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
    for what in ("user", "item", "features", "tasks"):
        declared, before = getattr(spec, what), getattr(start, what)
        names, names_before = ([part.name for part in side] for side in (declared, before))
        if names != names_before:
            raise _misfit(f"`{what}`", f"{names_before}", f"{names}")
        for part, earlier in zip(declared, before, strict=True):
            _check_same(f"{'task' if what == 'tasks' else 'feature'} {part.name!r}", part, earlier)
    _check_same("`network`", spec.network, start.network)
    if spec.time != start.time:
        raise _misfit("`time`", repr(start.time), repr(spec.time))


def take_over(model: Model, spec: Declaration, states: Mapping[str, pl.DataFrame], start: Predictor) -> None:
    """Copy the weights of an earlier model; embedding rows are matched by the values of their ids.

    Before its first batch the model predicts the same as the earlier one: the row of a new id starts as a copy of the row that
    encoded unknown ids.
    """
    before = start.parts.feature_states
    rows = {f.name: f.rows_before(states[f.name], before[f.name]) for f in spec.all_features if f.name in states}
    known = {name: table for name, table in rows.items() if table is not None}
    weights, shapes = start.model.state_dict(), {name: weight.shape for name, weight in model.state_dict().items()}
    model.load_state_dict({name: weight for name, weight in weights.items() if weight.shape == shapes[name]}, strict=False)
    for encoders, earlier in zip(model.copies, start.model.copies, strict=True):
        assert isinstance(encoders, Encoders) and isinstance(earlier, Encoders)
        encoders.take_rows(earlier, known)


def _check_same(thing: str, part: Spec, before: Spec) -> None:
    if type(part) is not type(before):
        raise _misfit(thing, f"a {type(before).__name__}", f"a {type(part).__name__}")
    for name in type(part).model_fields:
        value, value_before = getattr(part, name), getattr(before, name)
        if value != value_before:
            raise _misfit(thing, _field(name, value_before), _field(name, value))


def _field(name: str, value: Any) -> str:
    return f"{name}={list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value!r}"


def _misfit(thing: str, expected: str, found: str) -> UserError:
    remedy = "Declare it as it was, or leave `start` out and fit from nothing."
    return UserError(f"{thing} of a declaration with a `start`", expected=f"{expected}, as there", found=found, remedy=remedy)
