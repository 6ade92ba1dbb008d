"""`Trunk`: from the fields of a row to one vector. Shape letters: B rows, D width of all fields together, H trunk width."""

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
        """Return the weights of the linear maps that alone read the fields, with these along dimension 1, if such there are."""
        return ()

    def forward(self, x_BD: Tensor) -> Tensor:
        """Map fields laid side by side, (B, D), to (B, H)."""
        raise NotImplementedError


class Trunk(Family, family="trunks"):
    """What all tasks see of a row: layers over its fields, below experts and gates."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability of dropping a unit in training."""

    def build(self, widths: Sequence[int]) -> TrunkModule:
        """Make the module for fields of these widths, laid side by side."""
        raise NotImplementedError
