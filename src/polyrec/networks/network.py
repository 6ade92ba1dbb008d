"""`Network`: what the tasks share. Shape letters: B rows, D width of all features together, H hidden width."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from polyrec.core.spec import Family


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


class Network(Family, family="networks"):
    """The shared part between features and tasks."""

    products: bool = False
    """Whether products of field pairs stand beside the fields in the input (see `polyrec.layers.products`)."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit of a shared layer in training."""

    def build(self, widths: Sequence[int], tasks: Sequence[str]) -> SharedNetwork:
        """Make the module for fields of these widths, laid side by side in the input, and these tasks."""
        raise NotImplementedError
