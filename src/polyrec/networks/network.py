"""`Network`: what the tasks share.

Shape letters: B rows, D width of all features together (times S copies of their tables), H hidden width, E experts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Self

from pydantic import Field
from torch import Tensor, nn

from polyrec.core.spec import Family
from polyrec.trunks.trunk import Trunk


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
        """Return the weights of the last layer that every task's loss reaches: where GradNorm compares gradients."""
        raise NotImplementedError


class Network(Family, family="networks"):
    """The shared part between features and tasks: a trunk over the fields, where one is declared, and what tasks share."""

    trunk: Trunk | None = None
    """What turns the fields into the vector that is shared; unset, the fields side by side."""
    products: bool = False
    """Whether products of field pairs stand beside that vector (see `polyrec.layers.products`)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit of a shared layer in training."""

    def copies(self, tasks: Sequence[str]) -> int:
        """Return how many copies of the features' learned tables the network reads, side by side in its input."""
        return 1

    def among(self, tasks: Collection[str]) -> Self:
        """Return the declaration for fewer tasks, without the names of others."""
        return self

    def build(self, fields: Mapping[str, int], tasks: Sequence[str]) -> SharedNetwork:
        """Make the module for fields of these widths by name, laid side by side in the input, and these tasks.

        Raises `UserError` where the spec names a field or task that is not among them.
        """
        raise NotImplementedError
