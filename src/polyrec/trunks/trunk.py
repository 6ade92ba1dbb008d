"""`Trunk`: map the fields of a row to one vector. Shape letters: B rows, D total width of the fields, H trunk width."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from polyrec.core.spec import Family


class TrunkModule(nn.Module):
    """Base of the modules that a `Trunk` builds; `width` is H."""

    width: int

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def readers(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the linear maps that read the fields, with the fields along dimension 1; empty if other modules
        also read the fields."""
        return ()

    def forward(self, x_BD: Tensor) -> Tensor:
        """Map concatenated fields, (B, D), to (B, H)."""
        raise NotImplementedError


class Trunk(Family, family="trunks"):
    """Representation of a row that all tasks share: layers over its fields, below experts and gates."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability in training."""

    def build(self, widths: Sequence[int]) -> TrunkModule:
        """Build the module for concatenated fields of these widths."""
        raise NotImplementedError
