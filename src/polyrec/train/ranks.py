"""`Ranks`: the processes of a distributed training, each on its share of every batch.

Shape letters: B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


class Ranks:
    """The process group of `torch.distributed` if one is initialised, else this process alone.

    Losses are divided by the number of labels in the complete batch and gradients are summed over processes: the steps are
    those of a single process. They differ only for modules that draw at random (dropout) or relate rows (batch normalisation,
    losses that relate rows), which see one share at a time.
    """

    def __init__(self) -> None:
        is_initialised = distributed.is_available() and distributed.is_initialized()
        self.count, self.rank = (distributed.get_world_size(), distributed.get_rank()) if is_initialised else (1, 0)

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
        """Replace the gradients by their sums over the processes; a gradient that no process has stays None."""
        if self.count == 1:
            return
        every = list(parameters)
        flags = [[float(weight.grad is not None), float(weight.grad is not None and weight.grad.is_sparse)] for weight in every]
        for parameter, (count, sparse) in zip(every, self.sum(torch.tensor(flags)).tolist(), strict=True):
            if count == 0:
                continue
            if parameter.grad is None:
                parameter.grad = _no_rows(parameter) if sparse else torch.zeros_like(parameter)
            if sparse:
                parameter.grad = self._sum_of_rows(parameter.grad)
            else:
                distributed.all_reduce(parameter.grad)

    def _sum_of_rows(self, gradient: Tensor) -> Tensor:
        local = gradient.coalesce()
        parts: list[tuple[Tensor, Tensor] | None] = [None] * self.count
        distributed.all_gather_object(parts, (local.indices(), local.values()))
        gathered = [part for part in parts if part is not None]
        indices, values = torch.cat([part[0] for part in gathered], 1), torch.cat([part[1] for part in gathered])
        return torch.sparse_coo_tensor(indices, values, gradient.shape, check_invariants=False).coalesce()


def _no_rows(table: nn.Parameter) -> Tensor:
    """Return a sparse gradient of a table without any row."""
    indices, values = torch.zeros(1, 0, dtype=torch.long), table.new_zeros(0, *table.shape[1:])
    return torch.sparse_coo_tensor(indices, values, table.shape, check_invariants=False)
