"""The tasks' gradients at one step, from which balancers compute weights.

Shape letters: B rows, D width of all features together, T tasks, N numbers in the features (B times D).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.core.errors import UserError
from polyrec.train.ranks import Ranks


class StepGradients:
    """Gradients of the tasks' losses with respect to the features and to the last shared layer.

    The features (B, D) are the output of the encoders and the input of the shared network. Gradients there need one backward
    pass per task through network and heads but none through the embedding tables, whose gradients may therefore be sparse.
    The step itself is one more backward pass, of the weighted sum. By the chain rule the gradient of all weights below the
    features is linear in the gradient of the features (the upper bound of Sener and Koltun, NeurIPS 2018).
    """

    def __init__(self, losses: Mapping[str, Tensor], x_BD: Tensor, last_shared: Sequence[nn.Parameter], ranks: Ranks) -> None:
        self.losses, self.x_BD, self.last_shared, self.ranks = losses, x_BD, last_shared, ranks

    def gramian(self, tasks: Sequence[str]) -> Tensor:
        """Return the inner products (T, T) of the tasks' gradients of the features, over the rows of all ranks."""
        rows = [torch.autograd.grad(self.losses[task], self.x_BD, retain_graph=True)[0].flatten() for task in tasks]
        gradient_TN = torch.stack(rows).double()
        return self.ranks.sum(gradient_TN @ gradient_TN.T)

    def norms(self, tasks: Sequence[str]) -> Tensor:
        """Return the norm (T,) of each task's gradient of the last shared layer."""
        return torch.stack([self.ranks.sum(self._in_last_shared(task)).norm() for task in tasks])

    def _in_last_shared(self, task: str) -> Tensor:
        if not self.last_shared:
            remedy = "Give the network a hidden layer, or choose another balancer."
            raise UserError("GradNorm", expected="a layer that all tasks share", found="none", remedy=remedy)
        gradients = torch.autograd.grad(self.losses[task], self.last_shared, retain_graph=True, allow_unused=True)
        pairs = zip(gradients, self.last_shared, strict=True)
        parts = [(torch.zeros_like(weight) if gradient is None else gradient).flatten() for gradient, weight in pairs]
        return torch.cat(parts).double()
