"""One list for one user: candidates, predictions, fused score, rules. Offline and served lists share this code.

Shape letters: N candidates, I items, K items of the list, D width of an item's vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import meets
from polyrec.predict.events import Events
from polyrec.predict.outputs import best_first
from polyrec.predict.predictor import Predictor
from polyrec.rules.candidates import Candidates, Listed
from polyrec.rules.listing import apply_rules, kept
from polyrec.rules.rule import Rule


@dataclass(frozen=True)
class ListRequest:
    """A request for one list; `Fitted.recommend` documents the fields."""

    user: Mapping[str, Any]
    k: int = 10
    exclude_seen: bool = True
    where: str | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    seed: int = 0
    events: pl.DataFrame | None = None


@dataclass(frozen=True)
class Recommendation:
    """One list, best item first."""

    listed: Listed
    predictions: Mapping[str, Tensor]
    """Each task's predictions for the listed items, (K,) or (K, C)."""


def recommendation(fitted: Predictor, request: ListRequest) -> Recommendation:
    """Return a list for a user; `Fitted.recommend` documents the request."""
    if request.k < 1:
        raise UserError("k", expected="a number of items, 1 or more", found=f"{request.k}", remedy="Request at least one.")
    catalogue, rules = fitted.catalogue, (*fitted.spec.rules, *request.rules)
    user = request.user.get(fitted.user_key)
    events = catalogue.events(request.events, user)
    keep_I = _kept(fitted, request, events, rules)
    count = fitted.spec.candidates
    if count is not None and any(type(rule).keep is not Rule.keep for rule in rules):
        keep_I &= _let_in(fitted, rules, len(keep_I))
    if count is not None and int(keep_I.sum()) > count:
        rows_N = _with_pinned(fitted, rules, catalogue.nearest(request.user, events, count, keep_I), keep_I)
    else:
        rows_N = keep_I.nonzero().squeeze(1)
    predictions = catalogue.predict(request.user, rows_N, events)
    scores_N = fitted.fused(predictions, request.weights)
    order_N = best_first(scores_N, request.k if not rules else len(rows_N))
    vectors_ND = catalogue.unit_vectors(rows_N[order_N]).numpy() if any(rule.needs_vectors for rule in rules) else None
    rows_K, scores_K = rows_N[order_N].numpy(), scores_N[order_N].numpy()
    candidates = Candidates(rows_K, scores_K, fitted.items, fitted.item_key, vectors_ND, catalogue.keys)
    listed = apply_rules(rules, candidates, request.k, request.seed)
    shown_K = torch.searchsorted(rows_N, torch.from_numpy(listed.rows_K))
    return Recommendation(listed, {name: value[shown_K] for name, value in predictions.items()})


def _kept(fitted: Predictor, request: ListRequest, events: Events | None, rules: tuple[Rule, ...]) -> Tensor:
    """Return a mask of the catalogue's items (I,) that may be listed."""
    keep_I = torch.ones(fitted.items.height, dtype=torch.bool)
    if request.where is not None:
        flags = meets(fitted.items, request.where, "condition `where` on the catalogue")
        keep_I = torch.from_numpy(flags.to_numpy().copy())
    if request.exclude_seen:
        keep_I[fitted.catalogue.seen(request.user.get(fitted.user_key))] = False
        if events is not None:
            keep_I[events.items] = False
    return keep_I


def _let_in(fitted: Predictor, rules: tuple[Rule, ...], items: int) -> Tensor:
    """Return a mask of the items (I,) that the rules allow in a list; other items are not proposed."""
    every = Candidates(np.arange(items), np.zeros(items), fitted.items, fitted.item_key, keys=fitted.catalogue.keys)
    return torch.from_numpy(kept(rules, every))


def _with_pinned(fitted: Predictor, rules: tuple[Rule, ...], rows_N: Tensor, keep_I: Tensor) -> Tensor:
    """Add the items that rules pin to the candidates, if they may be listed."""
    pinned = fitted.catalogue.keys.find([key for rule in rules for key in rule.pins.values()])
    more = [row for row in pinned if row is not None and keep_I[row]]
    return torch.tensor(sorted({*rows_N.tolist(), *more})) if more else rows_N
