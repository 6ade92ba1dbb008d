"""The gradients of the tasks at one step, as balances ask for them.

Shape letters: B rows, D width of all features together, T tasks, P weights of the last shared layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.core.errors import UserError
from polyrec.train.ranks import Ranks


class StepGradients:
    """Gradients of the tasks' losses at the feature boundary and in the last shared layer.

    The feature boundary is what the encoders hand to the shared network, (B, D). Comparing gradients there needs a backward
    pass through network and heads for each task but none through the tables, whose gradients may then be sparse; the step
    itself is one more, ordinary backward pass of the weighted sum. By the chain rule the gradient in all weights below
    the boundary is linear in the one at it (the upper bound of Sener and Koltun, NeurIPS 2018).
    """

    def __init__(self, losses: Mapping[str, Tensor], x_BD: Tensor, last_shared: Sequence[nn.Parameter], ranks: Ranks) -> None:
        self.losses, self.x_BD, self.last_shared, self.ranks = losses, x_BD, last_shared, ranks

    def gramian(self, tasks: Sequence[str]) -> Tensor:
        """Return the inner products (T, T) of the tasks' gradients at the feature boundary, over the rows of all ranks."""
        rows = [torch.autograd.grad(self.losses[task], self.x_BD, retain_graph=True)[0].flatten() for task in tasks]
        gradient_TN = torch.stack(rows).double()
        return self.ranks.sum(gradient_TN @ gradient_TN.T)

    def norms(self, tasks: Sequence[str]) -> Tensor:
        """Return the norm (T,) of each task's gradient in the weights of the last shared layer."""
        return torch.stack([self.ranks.sum(self._in_last_shared(task)).norm() for task in tasks])

    def _in_last_shared(self, task: str) -> Tensor:
        if not self.last_shared:
            remedy = "Give the network a hidden layer, or choose another balancer."
            raise UserError("GradNorm", expected="a layer that all tasks share", found="none", remedy=remedy)
        found = torch.autograd.grad(self.losses[task], self.last_shared, retain_graph=True, allow_unused=True)
        parts = zip(found, self.last_shared, strict=True)
        return torch.cat([(torch.zeros_like(own) if one is None else one).flatten() for one, own in parts]).double()
