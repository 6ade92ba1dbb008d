"""`Ranks`: the processes that train one model together, each on its share of every batch.

Shape letters: B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


class Ranks:
    """The process group of `torch.distributed`, where one is open; else this process alone.

    Losses are divided by the number of labels in the whole batch and gradients are added up, so that the steps are those of
    one process. Differences remain where a module draws at random (dropout) or looks across rows (batch normalisation, losses
    that relate rows): it does so within a share.
    """

    def __init__(self) -> None:
        joined = distributed.is_available() and distributed.is_initialized()
        self.count, self.rank = (distributed.get_world_size(), distributed.get_rank()) if joined else (1, 0)

    def share(self, rows_B: Tensor) -> Tensor:
        """Return this process's part of the rows of a batch."""
        return rows_B if self.count == 1 else rows_B.tensor_split(self.count)[self.rank]

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self.count == 1:
            return value
        value = value.clone()
        distributed.all_reduce(value)
        return value

    def add_up_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their sums over the processes; one that no process has stays absent."""
        if self.count == 1:
            return
        every = list(parameters)
        has = [[float(one.grad is not None), float(one.grad is not None and one.grad.is_sparse)] for one in every]
        for parameter, (count, by_rows) in zip(every, self.sum(torch.tensor(has)).tolist(), strict=True):
            if count == 0:
                continue
            if parameter.grad is None:
                parameter.grad = _no_rows(parameter) if by_rows else torch.zeros_like(parameter)
            if by_rows:
                parameter.grad = self._sum_of_rows(parameter.grad)
            else:
                distributed.all_reduce(parameter.grad)

    def _sum_of_rows(self, gradient: Tensor) -> Tensor:
        own = gradient.coalesce()
        parts: list[tuple[Tensor, Tensor] | None] = [None] * self.count
        distributed.all_gather_object(parts, (own.indices(), own.values()))
        known = [part for part in parts if part is not None]
        indices, values = torch.cat([part[0] for part in known], 1), torch.cat([part[1] for part in known])
        return torch.sparse_coo_tensor(indices, values, gradient.shape, check_invariants=False).coalesce()


def _no_rows(table: nn.Parameter) -> Tensor:
    """Return a gradient of a table that reaches none of its rows."""
    nothing = torch.zeros(1, 0, dtype=torch.long), table.new_zeros(0, *table.shape[1:])
    return torch.sparse_coo_tensor(*nothing, table.shape, check_invariants=False)
