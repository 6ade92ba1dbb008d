"""`Balancer`: how the tasks' losses become one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from polyrec.core.spec import Family


class Balance(nn.Module):
    """Base of the modules that a `Balancer` builds; what they learn or count is part of every checkpoint."""

    def __call__(self, losses: Mapping[str, Tensor]) -> Tensor:
        return super().__call__(losses)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Combine the mean losses of the tasks that have a label in this batch into the one to differentiate."""
        raise NotImplementedError


class Balancer(Family, family="balancers"):
    """The weight of each task against the others during training."""

    def build(self, tasks: Sequence[str]) -> Balance:
        """Make the module for these tasks; raises `UserError` where the spec names a task that is not among them."""
        raise NotImplementedError
