"""Candidates of a Retrieval task: the items with the vectors nearest to the user's, by search in an index.

Shape letters: I items, N rows of the catalogue, K width of the task's vectors, W width of the index, C changed items.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from polyrec.index.build import build_index
from polyrec.index.index import Index

_FEW = 1000
"""Number of excluded items up to which they are removed after a larger search, which is faster than a filtered search."""

Outputs = Callable[[Tensor], Tensor]
"""Returns the task's raw outputs (N, 2K) for some rows of the catalogue: concatenated user and item vectors."""


class Proposer:
    """The item vectors of a task, in an index.

    The vectors include the bonus b that a task adds to the cosine `u v` of new items: an item has `(v, b s)`, with s = 1 if it
    is new, and the user has `(u, 1)`, so their product is `u v + b s`. All item vectors are divided by `sqrt(1 + b^2)`, which
    keeps the order.
    """

    def __init__(self, item_IK: Tensor, is_new_I: Tensor, bonus: float, index: Index | None = None) -> None:
        self.item_IK, self.is_new_I, self.bonus = item_IK, is_new_I, bonus
        self.index = build_index(self._indexed(torch.arange(len(item_IK)))) if index is None else index

    @classmethod
    def of(cls, outputs: Outputs, is_new_I: Tensor, bonus: float) -> Proposer:
        """Return the proposer of a catalogue; `bonus` is added to the cosine of new items."""
        return cls(outputs(torch.arange(len(is_new_I))).chunk(2, 1)[1].clone(), is_new_I, bonus)

    def with_items(self, outputs: Outputs, is_new_I: Tensor, rows_C: Tensor) -> Proposer:
        """Return the proposer of a catalogue in which some rows are new or changed; they are written to the shared index."""
        item_IK = self.item_IK.new_zeros(len(is_new_I), self.item_IK.shape[1])
        item_IK[: len(self.item_IK)] = self.item_IK
        item_IK[rows_C] = outputs(rows_C).chunk(2, 1)[1]
        changed = Proposer(item_IK, is_new_I, self.bonus, self.index)
        changed.index.put(rows_C.numpy(), changed._indexed(rows_C))
        return changed

    def nearest(self, outputs: Outputs, count: int, keep_I: Tensor) -> Tensor:
        """Return the sorted rows of the `count` kept items nearest to the user of `outputs`.

        Later catalogues share the index, and another thread may add items to it during the search: rows beyond `keep_I` are
        left out, and a changed item is matched by its old or its new vector.
        """
        user_1K = outputs(torch.zeros(1, dtype=torch.long)).chunk(2, 1)[0]
        query = (user_1K if self.bonus == 0 else functional.pad(user_1K, (0, 1), value=1.0)).numpy()
        keep, left_out = keep_I.numpy(), len(keep_I) - int(keep_I.sum())
        if left_out <= _FEW and len(self.index) == len(keep):
            rows = self.index.search(query, count + left_out).rows_QK[0]
            rows = rows[(rows >= 0) & (rows < len(keep))]
            rows = rows[keep[rows]][:count]
            if len(rows) == count:
                return torch.from_numpy(np.sort(rows))
        rows = self.index.search(query, count, keep).rows_QK[0]
        return torch.from_numpy(np.sort(rows[rows >= 0]))

    def _indexed(self, rows: Tensor) -> np.ndarray:
        vectors = self.item_IK[rows]
        if self.bonus == 0:
            return vectors.numpy()
        lifted = torch.cat([vectors, self.bonus * self.is_new_I[rows, None]], 1)
        return (lifted / math.sqrt(1 + self.bonus**2)).numpy()
