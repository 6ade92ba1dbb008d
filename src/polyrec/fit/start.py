"""Going on from an earlier fit: whether a declaration can, and what its model takes over."""

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
    """Raise `UserError` for the first feature, task or network that is not that of the declaration to start from."""
    for what in ("user", "item", "features", "tasks"):
        own, before = getattr(spec, what), getattr(start, what)
        names, names_before = ([one.name for one in side] for side in (own, before))
        if names != names_before:
            raise _misfit(f"`{what}`", f"{names_before}", f"{names}")
        for one, other in zip(own, before, strict=True):
            _check_same(f"{'task' if what == 'tasks' else 'feature'} {one.name!r}", one, other)
    _check_same("`network`", spec.network, start.network)
    if spec.time != start.time:
        raise _misfit("`time`", repr(start.time), repr(spec.time))


def take_over(model: Model, spec: Declaration, states: Mapping[str, pl.DataFrame], start: Predictor) -> None:
    """Set the weights of a new model to those of an earlier one; rows of ids are found by their values.

    A model that has met no batch since predicts for each row what the earlier one does: a new id begins as the row by which it
    was read.
    """
    before = start.parts.feature_states
    rows = {own.name: own.rows_before(states[own.name], before[own.name]) for own in spec.all_features if own.name in states}
    known = {name: found for name, found in rows.items() if found is not None}
    weights, shapes = start.model.state_dict(), {name: own.shape for name, own in model.state_dict().items()}
    model.load_state_dict({name: own for name, own in weights.items() if own.shape == shapes[name]}, strict=False)
    for own, other in zip(model.copies, start.model.copies, strict=True):
        assert isinstance(own, Encoders) and isinstance(other, Encoders)
        own.take_rows(other, known)


def _check_same(thing: str, own: Spec, before: Spec) -> None:
    if type(own) is not type(before):
        raise _misfit(thing, f"a {type(before).__name__}", f"a {type(own).__name__}")
    for name in type(own).model_fields:
        told, told_before = getattr(own, name), getattr(before, name)
        if told != told_before:
            raise _misfit(thing, _field(name, told_before), _field(name, told))


def _field(name: str, value: Any) -> str:
    return f"{name}={list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value!r}"


def _misfit(thing: str, expected: str, found: str) -> UserError:
    remedy = "Declare it as it was, or leave `start` out and fit from nothing."
    return UserError(f"{thing} of a declaration with a `start`", expected=f"{expected}, as there", found=found, remedy=remedy)
