"""`Pooling`: map a history to one vector. Shape letters: B rows, L length of a history, K width of an element."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from polyrec.core.spec import Family


class PoolingModule(nn.Module):
    """Base of the modules that a `Pooling` builds."""

    def __call__(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        return super().__call__(x_BLK, mask_BL, target_BK)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        """Map elements (oldest first, padded at the front), their mask, and the row's target element to (B, K).

        An empty history maps to zero. The values of the padding have no effect.
        """
        raise NotImplementedError


class Pooling(Family, family="poolings"):
    """Map of a user's earlier rows to one vector."""

    sees_target: ClassVar[bool] = False
    """Whether the vector depends on the row's target element: the candidate item."""

    def build(self, width: int, length: int) -> PoolingModule:
        """Build the module for elements of this width and histories of at most this length."""
        raise NotImplementedError
