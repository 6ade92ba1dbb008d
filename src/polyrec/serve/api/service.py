"""`Service`: what the server does, without HTTP. Every method may be called from any thread.

Shape letters: K items of a list.
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
from polyrec.predict.recommend import Ask, Recommendation, recommendation
from polyrec.rules.candidates import Listed
from polyrec.serve.api import messages
from polyrec.serve.api.columns import event_columns, feature_columns, item_columns
from polyrec.serve.api.telling import columns_of, require_told, rows_of, told
from polyrec.serve.api.user_keys import by_key, events_by_key, key_in, text_of
from polyrec.serve.stores.durable import Durable
from polyrec.serve.stores.records import ServedItem, ServedList
from polyrec.serve.versions.router import Router
from polyrec.serve.versions.slot import Slot
from polyrec.serve.watch.list_log import ListLog
from polyrec.serve.watch.metrics import Metrics

_LOGGER = logging.getLogger(__name__)

PAST = 200
"""Live events of a user that are read, the newest."""

UNKNOWN, ERASED = "unknown user", "erased user"
"""What stood in: nothing but features was known of the user, or of the time before the user was erased."""

NOT_KNOWN, LAST_KNOWN = "erasure not known", "last known history"
"""What stood in where the store did not answer: nothing of the training, for the user may have been erased; the last history
that this process knows of, or none."""

_LOOKED_AT = 1000
"""Users at most of whom it is asked whether they were erased, where some are to be told."""


class Service:
    """Lists, scores, events and items, over the versions of a router and the state of a store."""

    def __init__(self, router: Router, store: Durable, lists: ListLog, metrics: Metrics) -> None:
        self.router, self.store, self.lists, self.metrics = router, store, lists, metrics
        self._shadows = ThreadPoolExecutor(1, "shadow")
        self._shadowed: set[str] = set()
        self._lock = Lock()

    def recommend(self, asked: messages.RecommendRequest) -> messages.RecommendAnswer:
        """Return the best items for someone, and log the list."""
        asked = by_key(self.router.current, asked)
        slot, request = self.router.of(asked.user), uuid.uuid4().hex
        ask, fallback = self._ask(slot, asked)
        fitted = slot.fitted
        found = recommendation(fitted, ask)
        items = told(fitted, found, asked.columns)
        self._log(slot, asked.user, request, items, shown=True)
        for shadow in self.router.shadows:
            self._shadow(shadow, asked, request)
        self._count(fallback)
        notes = list(found.listed.notes)
        return messages.RecommendAnswer(items=items, model=slot.version, request=request, fallback=fallback, notes=notes)

    def score(self, asked: messages.ScoreRequest) -> messages.ScoreAnswer:
        """Return the scores of some items for someone."""
        asked = by_key(self.router.current, asked)
        slot = self.router.of(asked.user)
        who, events, fallback = self._who(slot, asked.user, asked.features)
        fitted = slot.fitted
        rows = rows_of(fitted, asked.items)
        later = fitted.catalogue.events(events, who.get(fitted.user_key))
        predictions = fitted.catalogue.predict(who, rows, later)
        scores = fitted.fused(predictions, asked.weights).numpy()
        found = Recommendation(Listed(rows.numpy(), scores, np.ones(len(rows))), predictions)
        self._count(fallback)
        return messages.ScoreAnswer(items=told(fitted, found, ()), model=slot.version, fallback=fallback)

    def take_events(self, asked: messages.EventsRequest) -> messages.EventsAnswer:
        """Keep events; what returns is safe."""
        self.router.current.check_events(asked.events)
        new = self.store.append(events_by_key(self.router.current, asked.events)).new
        self.metrics.events.labels("journal" if new is None else "store").inc(len(asked.events))
        return messages.EventsAnswer(accepted=len(asked.events), new=new, journalled=new is None)

    def take_items(self, asked: messages.ItemsRequest) -> messages.ItemsAnswer:
        """Add or change items; they can be recommended when this returns."""
        self.router.follow()
        self.store.put_items(self.router.check_items(asked.items))
        self.router.follow()
        self.metrics.items.inc(len(asked.items))
        return messages.ItemsAnswer(changed=len(asked.items), items=self.router.current.fitted.items.height)

    def remove_item(self, item: str) -> None:
        """Take an item away, so that it is not listed any more."""
        self.router.follow()
        rows_of(self.router.current.fitted, [item])
        self.store.put_items([self.router.current.removal(item)])
        self.router.follow()

    def erase(self, user: str) -> None:
        """Forget a user: events are deleted, and what the models know of the user's past is not read any more."""
        self.store.erase(text_of(self.router.current, user))

    def similar(self, asked: messages.SimilarRequest) -> messages.SimilarAnswer:
        """Return the items whose vectors are nearest to an item's, but for those that were taken away."""
        slot = self.router.current
        fitted, gone = slot.fitted, slot.gone
        require_told(fitted, asked.columns)
        own = rows_of(fitted, [asked.item])
        vectors_ID = fitted.catalogue.unit_vectors(torch.arange(fitted.items.height))
        cosine_I = vectors_ID @ vectors_ID[own[0]]
        cosine_I[own] = -torch.inf
        cosine_I[[row for row in fitted.catalogue.keys.find(sorted(gone)) if row is not None]] = -torch.inf
        count = min(asked.k, int((cosine_I > -torch.inf).sum()))
        best_K = torch.argsort(cosine_I, descending=True, stable=True)[:count]
        keys = fitted.items[fitted.item_key][best_K.numpy()].cast(pl.String).to_list()
        shown = columns_of(fitted.items, best_K, asked.columns)
        items = [
            messages.SimilarItem(item=key, cosine=cosine, columns=columns)
            for key, cosine, columns in zip(keys, cosine_I[best_K].tolist(), shown, strict=True)
        ]
        return messages.SimilarAnswer(items=items, model=slot.version)

    def explain(self, asked: messages.ExplainRequest) -> messages.ExplainAnswer:
        """Return what each feature adds to each task's prediction for someone and an item."""
        asked = by_key(self.router.current, asked)
        slot = self.router.of(asked.user)
        who, events, fallback = self._who(slot, asked.user, asked.features)
        fitted = slot.fitted
        catalogue = fitted.catalogue
        row = int(rows_of(fitted, [asked.item])[0])
        later = catalogue.events(events, who.get(fitted.user_key))
        found = attribute(fitted, catalogue.vectors(who, row, later), catalogue.baseline(row))
        tasks = {
            name: messages.ExplainedTask(
                prediction=own.prediction, baseline=own.baseline, contributions=dict(own.contributions), gap=own.gap
            )
            for name, own in found.items()
        }
        return messages.ExplainAnswer(tasks=tasks, model=slot.version, fallback=fallback)

    def user(self, user: str, limit: int, columns: Sequence[str]) -> messages.UserAnswer:
        """Return what is known of a user, the newest first."""
        user = text_of(self.router.current, user)
        slot = self.router.of(user)
        fitted, erased, key = slot.fitted, self.store.is_erased(user), key_in(slot, user)
        known = fitted.catalogue.users.keys.find([key])[0] is not None
        own_columns = [name for name in columns if name in fitted.items.columns and name != fitted.item_key]
        items = fitted.items.select(pl.col(fitted.item_key).cast(pl.String), *own_columns)
        live = [
            messages.KnownEvent(item=own.item, source="live", type=own.type, time=own.time, columns=dict(own.values))
            for own in reversed(self.store.history(user, limit).events)
        ]
        past = []
        if erased is False:
            for row in fitted.catalogue.log.of_user(key).frame.tail(limit).reverse().to_dicts():
                known_of = {name: value for name, value in row.items() if name in columns}
                item = str(row[fitted.item_key])
                past.append(messages.KnownEvent(item=item, source="training", type=None, time=None, columns=known_of))
        history = [*live, *past][:limit]
        shown = items.filter(pl.col(fitted.item_key).is_in([own.item for own in history]))
        told_of = {row.pop(fitted.item_key): row for row in shown.to_dicts()}
        whole = [own.model_copy(update={"columns": {**told_of.get(own.item, {}), **own.columns}}) for own in history]
        return messages.UserAnswer(user=user, known=known, erased=erased, history=whole)

    def users(self, start: str, limit: int) -> messages.UsersAnswer:
        """Return users of the training whose key begins so and who were not erased, as far as it is known."""
        fitted = self.router.current.fitted
        keys = fitted.catalogue.users.frame[fitted.user_key].drop_nulls()
        texts = key_texts(keys, keys.dtype)
        offered = texts.filter(texts.str.starts_with(start)).head(_LOOKED_AT).to_list()
        kept = (text for text in offered if self.store.is_erased(text) is False)
        return messages.UsersAnswer(users=list(islice(kept, limit)))

    def card(self) -> dict[str, Any]:
        """Return what people and programs should know of the models."""
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
        """Write what waits and give back what is held."""
        self._shadows.shutdown(cancel_futures=True)
        self.lists.close()
        self.store.close()

    def _ask(self, slot: Slot, asked: messages.RecommendRequest) -> tuple[Ask, list[str]]:
        require_told(slot.fitted, asked.columns)
        who, events, fallback = self._who(slot, asked.user, asked.features)
        seed = secrets.randbits(53) if asked.seed is None else asked.seed
        rules = (*asked.rules, *slot.rules)
        return Ask(who, asked.k, asked.exclude_seen, asked.where, asked.weights, rules, seed, events), fallback

    def _who(
        self, slot: Slot, user: str | None, features: Mapping[str, Any]
    ) -> tuple[dict[str, Any], pl.DataFrame | None, list[str]]:
        """Return the user as a recommender is told, the live events, and what stood in for something else."""
        fitted = slot.fitted
        if fitted.user_key in features:
            remedy = "Give the key as `user`."
            raise UserError(f"feature {fitted.user_key!r}", expected="a column beside the key", found="the key", remedy=remedy)
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
        """Log a list. One that no record can hold is told in the server's log: its request is answered all the same."""
        try:
            served = tuple(
                ServedItem(item=own.item, position=place, score=own.score, propensity=own.propensity, predictions=own.tasks)
                for place, own in enumerate(items, 1)
            )
            one = ServedList(request=request, time=time.time(), user=user, model=slot.version, items=served, shown=shown)
        except Exception as error:
            _LOGGER.error("a list of the version %s is not logged: %s", slot.version, error)
            return
        self.lists.put(one)
        self.metrics.lists.labels(slot.version).inc()

    def _shadow(self, slot: Slot, asked: messages.RecommendRequest, request: str) -> None:
        """Let a version in the shadow make its list too, unless it is busy with an earlier one."""
        with self._lock:
            if slot.version in self._shadowed:
                return
            self._shadowed.add(slot.version)

        def make() -> None:
            try:
                ask, _ = self._ask(slot, asked)
                fitted = slot.fitted
                items = told(fitted, recommendation(fitted, ask), ())
                self._log(slot, asked.user, f"{request}-{slot.version}", items, shown=False)
            except Exception as error:
                is_told = isinstance(error, UserError)
                _LOGGER.warning("version %s in the shadow has no answer: %s", slot.version, error, exc_info=not is_told)
            finally:
                self._shadowed.discard(slot.version)

        self._shadows.submit(make)

    def _count(self, fallback: Sequence[str]) -> None:
        for what in fallback:
            self.metrics.fallbacks.labels(what).inc()
