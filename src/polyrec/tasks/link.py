"""`Link`: what it means that a task comes after others. Shape letters: B rows, H width of a state."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from polyrec.core.spec import Family


class LinkModule(nn.Module):
    """Base of the modules that carry something from the earlier tasks' heads into a later one's."""

    def __call__(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        return super().__call__(state_BH, earlier_BH)

    def forward(self, state_BH: Tensor, earlier_BH: Sequence[Tensor]) -> Tensor:
        """Return the later task's state, given its own and those of the earlier tasks."""
        raise NotImplementedError


class Link(Family, family="links"):
    """How a task depends on the tasks that must have happened before it (view, click, cart, buy: any graph without a cycle)."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names of the tasks that come right before."""

    def build(self, width: int, earlier: Sequence[int]) -> LinkModule | None:
        """Make the module between the towers, given their widths; None where nothing is carried over."""
        return None
