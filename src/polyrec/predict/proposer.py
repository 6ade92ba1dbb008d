"""Candidates of a Retrieval task: the items whose vectors are nearest to the user's vector, by an index.

Shape letters: I items, N items that may be proposed, K width of the task's vectors, W width of the index, C changed items.
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
"""Largest number of excluded items for which the search returns as many more and drops them, which is cheaper than a filter."""

Outputs = Callable[[Tensor], Tensor]
"""Returns the task's raw outputs (N, 2K) for some rows of the catalogue, the user's vectors and the items' side by side."""


class Proposer:
    """The items' vectors of a task, in an index.

    What a task adds to the cosine `u v` of new items, b, is in the vectors: an item's is `(v, b s)`, s = 1 where it is new, and
    the user's `(u, 1)`, so that their product is `u v + b s`. All items' are divided by `sqrt(1 + b^2)`, which keeps the order.
    """

    def __init__(self, item_IK: Tensor, is_new_I: Tensor, bonus: float, index: Index | None = None) -> None:
        self.item_IK, self.is_new_I, self.bonus = item_IK, is_new_I, bonus
        self.index = build_index(self._indexed(torch.arange(len(item_IK)))) if index is None else index

    @classmethod
    def of(cls, outputs: Outputs, is_new_I: Tensor, bonus: float) -> Proposer:
        """Return the proposer of a catalogue; `bonus` is what the task adds to the cosine of new items."""
        return cls(outputs(torch.arange(len(is_new_I))).chunk(2, 1)[1].clone(), is_new_I, bonus)

    def with_items(self, outputs: Outputs, is_new_I: Tensor, rows_C: Tensor) -> Proposer:
        """Return the proposer of a catalogue in which the items of some rows are new or changed; the index takes these."""
        item_IK = self.item_IK.new_zeros(len(is_new_I), self.item_IK.shape[1])
        item_IK[: len(self.item_IK)] = self.item_IK
        item_IK[rows_C] = outputs(rows_C).chunk(2, 1)[1]
        other = Proposer(item_IK, is_new_I, self.bonus, self.index)
        other.index.put(rows_C.numpy(), other._indexed(rows_C))
        return other

    def nearest(self, outputs: Outputs, count: int, keep_I: Tensor) -> Tensor:
        """Return the rows, in order, of `count` items nearest to the user whose `outputs` these are, of those that are kept.

        Another thread may add items to the index meanwhile, which later catalogues share: rows beyond `keep_I` are left out,
        and a changed item is matched by its old vector or its new one.
        """
        user_1K = outputs(torch.zeros(1, dtype=torch.long)).chunk(2, 1)[0]
        query = (user_1K if self.bonus == 0 else functional.pad(user_1K, (0, 1), value=1.0)).numpy()
        keep, left_out = keep_I.numpy(), len(keep_I) - int(keep_I.sum())
        if left_out <= _FEW and len(self.index) == len(keep):
            rows_K = self.index.search(query, count + left_out).rows_QK[0]
            rows_K = rows_K[(rows_K >= 0) & (rows_K < len(keep))]
            rows_K = rows_K[keep[rows_K]][:count]
            if len(rows_K) == count:
                return torch.from_numpy(np.sort(rows_K))
        rows_K = self.index.search(query, count, keep).rows_QK[0]
        return torch.from_numpy(np.sort(rows_K[rows_K >= 0]))

    def _indexed(self, rows: Tensor) -> np.ndarray:
        vectors = self.item_IK[rows]
        if self.bonus == 0:
            return vectors.numpy()
        lifted = torch.cat([vectors, self.bonus * self.is_new_I[rows, None]], 1)
        return (lifted / math.sqrt(1 + self.bonus**2)).numpy()
