"""How validation rows rank: where the item of each row stands among all items, by the vectors of a two-tower task.

Shape letters: N rows, P rows that are judged, I items, K width of the vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import torch
from torch import Tensor

from polyrec.core.batch import Column, Constant
from polyrec.core.errors import UserError
from polyrec.data.conditions.expressions import evaluate
from polyrec.data.encoding import encode_features
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Declaration
from polyrec.model.model import Model
from polyrec.tasks.codes import codes, plain
from polyrec.tasks.retrieval import Retrieval
from polyrec.tasks.two_tower import POSITIVE

ROWS = 20_000
"""Validation rows that are judged at most, the same at every epoch."""

_BATCH = 1024


class ValidationRanking:
    """Ranks all items for validation rows of `Retrieval` tasks, a true row at a time.

    A true item counts as a hit if fewer than k others have a higher cosine. Unlike in `evaluate`, items that the user has
    already seen are among the others.
    """

    def __init__(self, spec: Declaration, states: Mapping[str, pl.DataFrame], items: pl.DataFrame, held: Prepared) -> None:
        self.spec, self.held = spec, held
        only = {feature.name for feature in spec.item}
        user = {name: Constant(column) for name, column in held.columns.items() if name not in only}
        known: dict[str, Column] = encode_features(items, spec.all_features, states, only=only)
        self.items = Prepared.of_inputs({**user, **known}, items.height)
        self.rows: dict[str, Tensor] = {}
        self.places: dict[str, Tensor] = {}
        aimed = any(feature.sees_target for feature in (*spec.user, *spec.features))
        for task in spec.tasks if not aimed else ():
            if isinstance(task, Retrieval):
                self._add(task, items)

    def names(self) -> list[str]:
        """Return the metrics that are to be had, by `task.metric`."""
        return [f"{name}.{metric}" for name in self.rows for metric in Retrieval.metrics]

    def __call__(self, model: Model, raw: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the metrics, given the model's raw outputs for all validation rows."""
        metrics: dict[str, float] = {}
        if not self.rows:
            return metrics
        with torch.inference_mode():
            pieces = [model(batch) for batch in self.items.batches(_BATCH)]
            for name, rows_P in self.rows.items():
                item_IK = torch.cat([piece[name] for piece in pieces]).chunk(2, 1)[1]
                user_PK = raw[name][rows_P].chunk(2, 1)[0]
                ranks_P = torch.cat(
                    [
                        _ranks(*both, item_IK)
                        for both in zip(user_PK.split(_BATCH), self.places[name].split(_BATCH), strict=True)
                    ]
                )
                hit_P = ranks_P < 10
                metrics[f"{name}.recall@10"] = float(hit_P.double().mean())
                metrics[f"{name}.ndcg@10"] = float((hit_P / (ranks_P + 2.0).log2()).double().mean())
        return metrics

    def _add(self, task: Retrieval, items: pl.DataFrame) -> None:
        """Note where the items of a task's true rows stand, if what tells them apart is known of the catalogue."""
        try:
            ids = evaluate(items, task.item, "the item")
        except UserError:
            return
        numbers = pl.DataFrame({"code": codes(plain(ids))}).with_row_index("place").unique("code")
        target_N4 = self.held.targets[task.name]
        rows = pl.DataFrame({"row": range(len(target_N4)), "flag": target_N4[:, 0].numpy(), "code": target_N4[:, 1].numpy()})
        judged = rows.filter(pl.col("flag") == POSITIVE).join(numbers, on="code").sort("row")
        if judged.height:
            judged = judged.sample(min(judged.height, ROWS), seed=0)
            self.rows[task.name] = judged["row"].cast(pl.Int64).to_torch()
            self.places[task.name] = judged["place"].cast(pl.Int64).to_torch()


def _ranks(user_PK: Tensor, place_P: Tensor, item_IK: Tensor) -> Tensor:
    """Return how many items have a higher cosine than the item of each row, (P,)."""
    cosine_PI = user_PK @ item_IK.T
    return (cosine_PI > cosine_PI.gather(1, place_P[:, None])).sum(1)
