"""`SharedNetwork`: the module of what the tasks share.

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
        """Return the hidden state (B, H) of each of the tasks asked for."""
        raise NotImplementedError

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weight (B, E) that each task gives each expert; empty for networks without gates."""
        return {}

    def readers(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the linear maps that alone read the features, with these along dimension 1.

        Empty where something else reads them too, such as a product of fields.
        """
        return ()

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the last layer that every task's loss reaches: where GradNorm compares gradients. Empty where
        tasks share no layer."""
        raise NotImplementedError
