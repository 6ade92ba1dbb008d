"""Base of tasks that compare a vector of the user with a vector of the item, and their heads.

Shape letters: B rows, H hidden width, K width of the vectors.
"""

from __future__ import annotations

from typing import Self

import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from polyrec.layers.mlp import MLP
from polyrec.tasks.codes import codes, roles_of
from polyrec.tasks.flags import flags
from polyrec.tasks.head import Head, TowerHead
from polyrec.tasks.task import State, Task

UNOBSERVED, NEGATIVE, POSITIVE = -1.0, 0.0, 1.0
"""First number of a target: the label of the row."""


class _Towers(MLP):
    """The user's and the item's tower: maps their concatenated hidden states to their concatenated states."""

    def __init__(self, width: int, hidden: tuple[int, ...], dropout: float) -> None:
        user, item = MLP(width, hidden, dropout), MLP(width, hidden, dropout)
        super().__init__(user.width + item.width, ())
        self.user, self.item = user, item

    def forward(self, x_BD: Tensor) -> Tensor:
        user_BD, item_BD = x_BD.chunk(2, 1)
        return torch.cat([self.user(user_BD), self.item(item_BD)], 1)


class TwoTowerHead(TowerHead):
    """A tower and a linear layer for each side (Huang et al., CIKM 2013). Maps two hidden states (B, H) to raw outputs (B, 2K).

    The first K outputs are the user's vector and the others the item's, each of length one. Neither side depends on the other's
    hidden state, so that item vectors can be stored and searched.
    """

    def __init__(self, width: int, tower: tuple[int, ...], outputs: int, dropout: float) -> None:
        super().__init__(width, (), outputs // 2, dropout)
        self.tower, self.outputs = _Towers(width, tower, dropout), outputs
        self.width = self.tower.width
        half = self.tower.width // 2
        self.last, self.last_item = nn.Linear(half, outputs // 2), nn.Linear(half, outputs // 2)

    def state(self, *hidden_BH: Tensor) -> Tensor:
        return self.tower(torch.cat(hidden_BH, 1))

    def output(self, state_BH: Tensor) -> Tensor:
        user_BH, item_BH = state_BH.chunk(2, 1)
        sides = self.last(user_BH), self.last_item(item_BH)
        return torch.cat([functional.normalize(side_BK, dim=1) for side_BK in sides], 1)


class DirectHead(Head):
    """Compares two hidden states of one space. Maps them, (B, K) each, to raw outputs (B, 2K).

    The item's state v is unchanged. The user's state u becomes `u + W u + b`, where W and b are initialised to zero.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.linear = 2 * width, nn.Linear(width, width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def state(self, *hidden_BH: Tensor) -> Tensor:
        user_BK, item_BK = hidden_BH
        return torch.cat([user_BK + self.linear(user_BK), item_BK], 1)

    def output(self, state_BH: Tensor) -> Tensor:
        return torch.cat([functional.normalize(side_BK, dim=1) for side_BK in state_BH.chunk(2, 1)], 1)


class TwoTowerTask(Task, kind=False):
    """A task whose score is the cosine of the user's and the item's vector, scaled to [0, 1]."""

    views = ("user", "item")
    relates_rows = True
    needs_contrast = False

    item: str = "item_id"
    """Column, or SQL expression over columns, that identifies the item."""
    width: int = Field(default=64, ge=1)
    """Width of the vectors of users and items."""

    @model_validator(mode="after")
    def _nothing_before(self) -> Self:
        if self.after is not None:
            raise ValueError(f"{type(self).__name__} compares vectors and is no probability: it cannot come `after` a task")
        return self

    def outputs(self, state: State) -> int:
        return 2 * self.width

    def build(self, width: int, state: State) -> Head:
        return TwoTowerHead(width, self.tower, self.outputs(state), self.dropout)

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        return self.targets(labels, state)[:, 0] != UNOBSERVED

    def predict(self, raw: Tensor, state: State) -> Tensor:
        user_BK, item_BK = raw.chunk(2, 1)
        return ((1 + (user_BK * item_BK).sum(1)) / 2).clamp(0, 1)

    def truth(self, target: Tensor, state: State) -> Tensor:
        return target[:, 0]

    def constant(self, targets: Tensor) -> Tensor:
        return torch.zeros(1, 2 * self.width)

    def rows(self, labels: pl.Series) -> pl.DataFrame:
        """Return the column `flag`, the label as 1 or 0, or -1 where it or an id is null, and codes per other role."""
        roles = roles_of(self, labels)
        numbers = flags(self, roles.pop("label"))
        known = pl.all_horizontal(pl.col(roles) >= 0)
        rows = pl.DataFrame({"flag": numbers} | {role: codes(ids) for role, ids in roles.items()})
        return rows.with_columns(flag=pl.when(known).then("flag").fill_null(UNOBSERVED))

    def require_positive(self, rows: pl.DataFrame) -> None:
        """Refuse labels that contain no true one."""
        if not (rows["flag"] == POSITIVE).any():
            raise self.wrong_labels("at least one true label", "none", "Check the label, or drop the task.")
