"""`Generator`: the next items of a user, by generating item codes instead of scoring every item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import torch

from polyrec.core.errors import UserError, nearest
from polyrec.layers.code_tree import CodeTree, beam_search
from polyrec.predict.predictor import Predictor
from polyrec.predict.users import request_columns
from polyrec.tasks.generative import Generative, GenerativeHead


class Generator:
    """Beam search over the codes of a catalogue, for one Generative task of a fitted recommender.

    A call decodes at most `beams` sequences per level, independent of the number of items; `recommend` decodes every item. With
    as many beams as items both rank alike; with fewer, an item whose first code is improbable can be missed.
    """

    def __init__(self, fitted: Predictor, task: str) -> None:
        generative = {candidate.name: candidate for candidate in fitted.spec.tasks if isinstance(candidate, Generative)}
        if task not in generative:
            remedy = nearest(task, generative)
            raise UserError(f"task {task!r}", expected="a Generative task", found="none of that name", remedy=remedy)
        self.fitted, self.task = fitted, task
        self.tree = CodeTree(fitted.catalogue.numbers(generative[task].of))

    def __call__(
        self,
        k: int = 10,
        *,
        user: object = None,
        features: Mapping[str, Any] | None = None,
        beams: int = 100,
        exclude_seen: bool = True,
        **keywords: Any,
    ) -> pl.DataFrame:
        """Return up to `k` items for one user, the most probable first: key and probability of their codes.

        The user is specified as in `Fitted.recommend`. `beams` is the number of code sequences kept on each level.
        """
        for name, number in (("k", k), ("beams", beams)):
            if number < 1:
                raise UserError(name, expected="1 or more", found=f"{number}", remedy="Request at least one.")
        catalogue = self.fitted.catalogue
        given = request_columns(catalogue.user_key, user, features or {}, keywords)
        head = self.fitted.model.heads[self.task]
        assert isinstance(head, GenerativeHead)
        kept_I = torch.ones(catalogue.items.height, dtype=torch.bool)
        if exclude_seen:
            kept_I[catalogue.seen(given.get(catalogue.user_key))] = False
        with torch.inference_mode():
            state_BH = head.tower(catalogue.user_hidden(self.task, given))
            items_E, logs_E = beam_search(head.decoder, state_BH, self.tree, beams, kept_I)
        probability = pl.Series(self.task, logs_E[:k].exp().numpy())
        return catalogue.items[items_E[:k].numpy()].select(catalogue.item_key).with_columns(probability)
