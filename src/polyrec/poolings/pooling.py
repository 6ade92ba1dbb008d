"""`Pooling`: from a history to one vector. Shape letters: B rows, L length of a history, K width of an element."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from polyrec.core.spec import Family


class PoolingModule(nn.Module):
    """Base of the modules that a `Pooling` builds."""

    def __call__(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        return super().__call__(x_BLK, mask_BL, target_BK)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        """Map elements, oldest first and padded at the front, their mask, and the row's own element to (B, K).

        An empty history gives zero, and what lies in the padding changes nothing.
        """
        raise NotImplementedError


class Pooling(Family, family="poolings"):
    """How a user's earlier rows become one vector."""

    sees_target: ClassVar[bool] = False
    """Whether the vector depends on the row's own element: the item that is being judged."""

    def build(self, width: int, length: int) -> PoolingModule:
        """Make the module for elements of this width and histories of at most this length."""
        raise NotImplementedError
