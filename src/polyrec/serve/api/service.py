"""`Service`: the operations of the server, without HTTP. Every method may be called from any thread.

Shape letters: I items of the catalogue, D dimensions of a vector, K items of a list.
"""

from __future__ import annotations

import logging
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
import torch

from polyrec.core.errors import UserError
from polyrec.data.keys import key_texts
from polyrec.explain.integrated_gradients import attribute
from polyrec.predict.recommend import ListRequest, Recommendation, recommendation
from polyrec.rules.candidates import Listed
from polyrec.serve.api import messages
from polyrec.serve.api.columns import event_columns, feature_columns, item_columns
from polyrec.serve.api.telling import answered_items, columns_of, require_answerable, rows_of
from polyrec.serve.api.user_keys import by_key, events_by_key, key_in, text_of
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.records import ServedItem, ServedList
from polyrec.serve.versions.router import Router
from polyrec.serve.versions.slot import Slot
from polyrec.serve.watch.list_log import ListLog
from polyrec.serve.watch.metrics import Metrics

_LOGGER = logging.getLogger(__name__)

PAST = 200
"""Number of newest live events read per user."""

UNKNOWN, ERASED = "unknown user", "erased user"
"""Fallbacks to features and live events: the user was not seen in training, or was erased."""

NOT_KNOWN, LAST_KNOWN = "erasure not known", "last known history"
"""Fallbacks while the store does not answer: the training history is ignored, as the user may have been erased; the live events
are those that this process saw last, possibly none."""

_MOST_CHECKED = 1000
"""Largest number of users that one call of `users` checks for erasure."""


class Service:
    """Serves lists and scores and takes events and items, with the versions of a router and the state of a store."""

    def __init__(self, router: Router, store: Durable, lists: ListLog, metrics: Metrics) -> None:
        self.router, self.store, self.lists, self.metrics = router, store, lists, metrics
        self._shadows = ThreadPoolExecutor(1, "shadow")
        self._shadowed: set[str] = set()
        self._lock = Lock()

    def recommend(self, body: messages.RecommendRequest) -> messages.RecommendAnswer:
        """Return the best items for a user, and log the list."""
        body = by_key(self.router.current, body)
        slot, request = self.router.of(body.user), uuid.uuid4().hex
        ask, fallback = self._ask(slot, body)
        fitted = slot.fitted
        result = recommendation(fitted, ask)
        items = answered_items(fitted, result, body.columns)
        self._log(slot, body.user, request, items, shown=True)
        for shadow in self.router.shadows:
            self._shadow(shadow, body, request)
        self._count(fallback)
        notes = list(result.listed.notes)
        return messages.RecommendAnswer(items=items, model=slot.version, request=request, fallback=fallback, notes=notes)

    def score(self, body: messages.ScoreRequest) -> messages.ScoreAnswer:
        """Return the scores of the given items for a user."""
        body = by_key(self.router.current, body)
        slot = self.router.of(body.user)
        who, events, fallback = self._who(slot, body.user, body.features)
        fitted = slot.fitted
        rows = rows_of(fitted, body.items)
        later = fitted.catalogue.events(events, who.get(fitted.user_key))
        predictions = fitted.catalogue.predict(who, rows, later)
        scores = fitted.fused(predictions, body.weights).numpy()
        result = Recommendation(Listed(rows.numpy(), scores, np.ones(len(rows))), predictions)
        self._count(fallback)
        return messages.ScoreAnswer(items=answered_items(fitted, result, ()), model=slot.version, fallback=fallback)

    def take_events(self, body: messages.EventsRequest) -> messages.EventsAnswer:
        """Store events; they are durable once this returns."""
        self.router.current.check_events(body.events)
        new = self.store.append(events_by_key(self.router.current, body.events)).new
        self.metrics.events.labels("journal" if new is None else "store").inc(len(body.events))
        return messages.EventsAnswer(accepted=len(body.events), new=new, journalled=new is None)

    def take_items(self, body: messages.ItemsRequest) -> messages.ItemsAnswer:
        """Add or change items; lists reflect the changes once this returns."""
        self.router.follow()
        self.store.put_items(self.router.check_items(body.items))
        self.router.follow()
        self.metrics.items.inc(len(body.items))
        return messages.ItemsAnswer(changed=len(body.items), items=self.router.current.fitted.items.height)

    def remove_item(self, item: str) -> None:
        """Remove an item from all further lists."""
        self.router.follow()
        rows_of(self.router.current.fitted, [item])
        self.store.put_items([self.router.current.removal(item)])
        self.router.follow()

    def erase(self, user: str) -> None:
        """Erase a user: delete the live events and ignore the user's training history from now on."""
        self.store.erase(text_of(self.router.current, user))

    def similar(self, body: messages.SimilarRequest) -> messages.SimilarAnswer:
        """Return the items whose vectors are nearest to an item's, without removed items."""
        slot = self.router.current
        fitted, gone = slot.fitted, slot.gone
        require_answerable(fitted, body.columns)
        query_row = rows_of(fitted, [body.item])
        vectors_ID = fitted.catalogue.unit_vectors(torch.arange(fitted.items.height))
        cosine_I = vectors_ID @ vectors_ID[query_row[0]]
        cosine_I[query_row] = -torch.inf
        cosine_I[[row for row in fitted.catalogue.keys.find(sorted(gone)) if row is not None]] = -torch.inf
        count = min(body.k, int((cosine_I > -torch.inf).sum()))
        best_K = torch.argsort(cosine_I, descending=True, stable=True)[:count]
        keys = fitted.items[fitted.item_key][best_K.numpy()].cast(pl.String).to_list()
        shown = columns_of(fitted.items, best_K, body.columns)
        items = [
            messages.SimilarItem(item=key, cosine=cosine, columns=columns)
            for key, cosine, columns in zip(keys, cosine_I[best_K].tolist(), shown, strict=True)
        ]
        return messages.SimilarAnswer(items=items, model=slot.version)

    def explain(self, body: messages.ExplainRequest) -> messages.ExplainAnswer:
        """Return the contribution of each feature to the prediction of each task, for a user and an item."""
        body = by_key(self.router.current, body)
        slot = self.router.of(body.user)
        who, events, fallback = self._who(slot, body.user, body.features)
        fitted = slot.fitted
        catalogue = fitted.catalogue
        row = int(rows_of(fitted, [body.item])[0])
        later = catalogue.events(events, who.get(fitted.user_key))
        attributions = attribute(fitted, catalogue.vectors(who, row, later), catalogue.baseline(row))
        tasks = {
            name: messages.ExplainedTask(
                prediction=task.prediction, baseline=task.baseline, contributions=dict(task.contributions), gap=task.gap
            )
            for name, task in attributions.items()
        }
        return messages.ExplainAnswer(tasks=tasks, model=slot.version, fallback=fallback)

    def user(self, user: str, limit: int, columns: Sequence[str]) -> messages.UserAnswer:
        """Return the events of a user, the newest first."""
        user = text_of(self.router.current, user)
        slot = self.router.of(user)
        fitted, erased, key = slot.fitted, self.store.is_erased(user), key_in(slot, user)
        known = fitted.catalogue.users.keys.find([key])[0] is not None
        catalogue_columns = [name for name in columns if name in fitted.items.columns and name != fitted.item_key]
        items = fitted.items.select(pl.col(fitted.item_key).cast(pl.String), *catalogue_columns)
        live = [
            messages.KnownEvent(item=event.item, source="live", type=event.type, time=event.time, columns=dict(event.values))
            for event in reversed(self.store.history(user, limit).events)
        ]
        past = []
        if erased is False:
            for row in fitted.catalogue.log.of_user(key).frame.tail(limit).reverse().to_dicts():
                values = {name: value for name, value in row.items() if name in columns}
                item = str(row[fitted.item_key])
                past.append(messages.KnownEvent(item=item, source="training", type=None, time=None, columns=values))
        history = [*live, *past][:limit]
        shown = items.filter(pl.col(fitted.item_key).is_in([event.item for event in history]))
        columns_of_item = {row.pop(fitted.item_key): row for row in shown.to_dicts()}
        merged = [
            event.model_copy(update={"columns": {**columns_of_item.get(event.item, {}), **event.columns}}) for event in history
        ]
        return messages.UserAnswer(user=user, known=known, erased=erased, history=merged)

    def users(self, start: str, limit: int) -> messages.UsersAnswer:
        """Return users of the training data whose key begins with `start` and who are known not to be erased."""
        fitted = self.router.current.fitted
        keys = fitted.catalogue.users.frame[fitted.user_key].drop_nulls()
        texts = key_texts(keys, keys.dtype)
        offered = texts.filter(texts.str.starts_with(start)).head(_MOST_CHECKED).to_list()
        kept = (text for text in offered if self.store.is_erased(text) is False)
        return messages.UsersAnswer(users=list(islice(kept, limit)))

    def card(self) -> dict[str, Any]:
        """Return the tasks, weights, columns and model card of the served model."""
        current, pointer = self.router.current, self.router.pointer
        fitted = current.fitted
        tasks = [{"name": task.name, "kind": type(task).__name__, "ranked": task.is_scalar} for task in fitted.spec.tasks]
        scalar = [task.name for task in fitted.spec.tasks if task.is_scalar]
        return {
            "model": current.version,
            "split": dict(pointer.split),
            "shadow": list(pointer.shadow),
            "refused": self.router.refused,
            "tasks": tasks,
            "fusion": fitted.spec.fusion.model_dump(mode="json"),
            "weights": fitted.spec.fusion.weights_among(scalar),
            "item": fitted.item_key,
            "user": fitted.user_key,
            "items": fitted.items.height,
            "columns": [name for name in item_columns(fitted) if name != fitted.item_key],
            "features": feature_columns(fitted),
            "events": event_columns(fitted),
            "card": fitted.parts.card,
        }

    def close(self) -> None:
        """Write the waiting lists and release all resources."""
        self._shadows.shutdown(cancel_futures=True)
        self.lists.close()
        self.store.close()

    def _ask(self, slot: Slot, body: messages.RecommendRequest) -> tuple[ListRequest, list[str]]:
        require_answerable(slot.fitted, body.columns)
        who, events, fallback = self._who(slot, body.user, body.features)
        seed = secrets.randbits(53) if body.seed is None else body.seed
        rules = (*body.rules, *slot.rules)
        return ListRequest(who, body.k, body.exclude_seen, body.where, body.weights, rules, seed, events), fallback

    def _who(
        self, slot: Slot, user: str | None, features: Mapping[str, Any]
    ) -> tuple[dict[str, Any], pl.DataFrame | None, list[str]]:
        """Return the columns of the user, the live events and the fallbacks."""
        fitted = slot.fitted
        if fitted.user_key in features:
            remedy = "Give the key as `user`."
            thing = f"feature {fitted.user_key!r}"
            raise UserError(thing, expected="a column other than the key", found="the key", remedy=remedy)
        if user is None:
            return dict(features), None, []
        fallback, erased = [], self.store.is_erased(user)
        if erased is not False:
            who: dict[str, Any] = dict(features)
            fallback.append(NOT_KNOWN if erased is None else ERASED)
        else:
            key = key_in(slot, user)
            who = {fitted.user_key: key, **features}
            if fitted.catalogue.users.keys.find([key])[0] is None:
                fallback.append(UNKNOWN)
        recalled = self.store.history(user, PAST)
        if not recalled.is_current:
            fallback.append(LAST_KNOWN)
        return who, slot.events_frame(recalled.events) if recalled.events else None, fallback

    def _log(
        self, slot: Slot, user: str | None, request: str, items: Sequence[messages.RecommendedItem], *, shown: bool
    ) -> None:
        """Log a list. A list that does not fit a record is reported in the server's log, and its request is still answered."""
        try:
            served_items = tuple(
                ServedItem(item=item.item, position=place, score=item.score, propensity=item.propensity, predictions=item.tasks)
                for place, item in enumerate(items, 1)
            )
            now, version = time.time(), slot.version
            served = ServedList(request=request, time=now, user=user, model=version, items=served_items, shown=shown)
        except Exception as error:
            _LOGGER.error("a list of version %s is not logged: %s", slot.version, error)
            return
        self.lists.put(served)
        self.metrics.lists.labels(slot.version).inc()

    def _shadow(self, slot: Slot, body: messages.RecommendRequest, request: str) -> None:
        """Compute and log the list of a shadow version, unless the version is busy with an earlier one."""
        with self._lock:
            if slot.version in self._shadowed:
                return
            self._shadowed.add(slot.version)

        def make() -> None:
            try:
                ask, _ = self._ask(slot, body)
                fitted = slot.fitted
                items = answered_items(fitted, recommendation(fitted, ask), ())
                self._log(slot, body.user, f"{request}-{slot.version}", items, shown=False)
            except Exception as error:
                is_expected = isinstance(error, UserError)
                _LOGGER.warning("shadow version %s failed: %s", slot.version, error, exc_info=not is_expected)
            finally:
                self._shadowed.discard(slot.version)

        self._shadows.submit(make)

    def _count(self, fallbacks: Sequence[str]) -> None:
        for fallback in fallbacks:
            self.metrics.fallbacks.labels(fallback).inc()
