"""History: what a user met before a row's time, as one vector."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from polyrec.features.feature import Feature
from polyrec.poolings.mean import Mean
from polyrec.poolings.pooling import Pooling, PoolingModule


class History(Feature):
    """The user's earlier rows, each read through another feature `of` this recommender, newest `length` of them.

    Built strictly from rows BEFORE each row's time: rows of the same instant are not in each other's history. The earlier
    rows share the encoder of the feature `of` (one table for an item as candidate and as history), are pooled to one vector
    and, where the two widths differ, mapped to (B, width) by a linear layer. The state is the log of interactions, kept once
    for all histories.
    """

    examples = (
        {"name": "watched", "of": "item_id", "length": 20},
        {"name": "likes", "of": "item_id", "pooling": "SASRec"},
        {"name": "met", "of": "item_id", "pooling": {"kind": "Recurrent", "cell": "lstm"}},
    )

    of: str
    """Name of the feature that the earlier rows are read through."""
    length: int = Field(default=50, gt=0)
    """How many earlier rows are kept, the newest ones."""
    where: str | None = None
    """SQL condition on the columns of the earlier rows, such as `rating >= 4`: which of them count. Their labels are past
    by then, so this may name a label."""
    pooling: Pooling = Mean()
    """How the earlier rows become one vector."""

    @property
    def columns(self) -> tuple[str, ...]:
        return ()

    @property
    def sees_target(self) -> bool:
        """Whether the vector depends on the row's own element, so that every row judged has one of its own."""
        return self.pooling.sees_target

    def build_pooling(self, width: int) -> HistoryPooling:
        """Make the module that maps elements (B, L, width of `of`), a mask (B, L) and the row's own element to (B, width)."""
        return HistoryPooling(self.pooling.build(width, self.length), width, self.width)


class HistoryPooling(nn.Module):
    """Pool a history, then project it where its elements are of another width.

    Shape letters: B rows, L length of a history, K width of its elements.
    """

    def __init__(self, pooling: PoolingModule, inputs: int, width: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.projection = nn.Identity() if inputs == width else nn.Linear(inputs, width)

    def __call__(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        return super().__call__(x_BLK, mask_BL, target_BK)

    def forward(self, x_BLK: Tensor, mask_BL: Tensor, target_BK: Tensor) -> Tensor:
        return self.projection(self.pooling(x_BLK, mask_BL, target_BK))
