"""`SharedNetwork`: base of the modules that tasks share.

Shape letters: B rows, D width of all features together (times S copies of their tables), H hidden width, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SharedNetwork(nn.Module):
    """Base of the modules that a `Network` builds; `width` is H."""

    width: int

    def __call__(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        return super().__call__(x_BD, tasks)

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the hidden state (B, H) of each requested task."""
        raise NotImplementedError

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weight (B, E) of each expert for each task; empty for networks without gates."""
        return {}

    def readers(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the linear maps that read the features, with the features along dimension 1.

        Empty if other modules also read the features, such as a product of fields.
        """
        return ()

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the last layer that the losses of all tasks reach, at which GradNorm compares gradients.

        Empty if tasks share no layer.
        """
        raise NotImplementedError
