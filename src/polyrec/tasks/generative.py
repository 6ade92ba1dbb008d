"""Generative: the next item, predicted code by code.

Shape letters: B rows, H hidden width, L levels, K numbers of a level.
"""

from __future__ import annotations

from typing import Self

import polars as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor

from polyrec.layers.code_decoder import CodeDecoder
from polyrec.layers.mlp import MLP
from polyrec.tasks.flags import flags
from polyrec.tasks.head import Head
from polyrec.tasks.task import NUMBERS, State, Task

UNOBSERVED, POSITIVE = -1, 1
"""The first number of a target where the label is null, and where it is true."""


class GenerativeHead(Head):
    """A tower over what is known of the user, and a decoder over the codes of the row's item.

    Maps the hidden state (B, H) and the item's numbers (B, L) to raw outputs (B, L (K + 1)): for each level the logits of all
    its numbers, given the item's numbers before it, and the number of the item.
    """

    def __init__(self, width: int, tower: tuple[int, ...], levels: int, size: int, code_width: int, dropout: float) -> None:
        super().__init__()
        self.tower = MLP(width, tower, dropout)
        self.decoder = CodeDecoder(levels, size, self.tower.width, code_width)
        self.numbers, self.width = levels, self.tower.width + levels

    def state(self, *hidden_BH: Tensor) -> Tensor:
        """Return the user's state and, after it, the item's numbers."""
        user_BH, numbers_BL = hidden_BH
        return torch.cat([self.tower(user_BH), numbers_BL], 1)

    def output(self, state_BH: Tensor) -> Tensor:
        user_BH, number_BL = state_BH.split([self.tower.width, self.decoder.levels], 1)
        numbers_BL = number_BL.long().clamp(max=self.decoder.size - 1)
        logits_BLK = self.decoder(user_BH, numbers_BL)
        return torch.cat([logits_BLK, numbers_BL.to(logits_BLK.dtype).unsqueeze(2)], 2).flatten(1)


class Generative(Task):
    """The item that a user goes for, named by its semantic id from the coarsest code to the finest.

    Labels: true where the user went for the item; all may be true. Output: the probability of the item's codes given the user,
    `p(c_1, ..., c_L | u) = prod_l softmax(W_l h_l)[c_l]`, `h_l` being the user's state after a recurrent decoder has read the
    codes before. Loss of a true row: `-log p`, the sum over levels of the cross-entropy; no negatives are drawn, for the
    softmax is over codes. Items that share all codes share their probability (a `SemanticIds` with a `key` tells them apart).
    The probabilities of all codes that name an item sum to one at most: the rest is of codes that name nothing.

    TIGER (Rajput et al., NeurIPS 2023) is an encoder and decoder of T5's kind over the codes of the history. Here the user's
    state is what the shared network makes of all user features (the codes of the history are one of them: a `History` of
    the same feature with `SASRec`), it is one vector without cross-attention, and the decoder is a recurrent cell. Searching
    the tree of the codes that exist (`polyrec.Generator`) never leaves it, where TIGER filters what names nothing. The code
    by which an item never met differs from others with its codes is 0. State, one row: `levels`, `size` of a level.
    """

    examples = (
        {"name": "next", "label": "rating IS NOT NULL", "of": "semantic_id"},
        {"name": "buy", "label": "bought", "of": "codes", "code_width": 8, "tower": [16], "dropout": 0.1},
    )
    metrics = ("recall@10", "ndcg@10")
    views = ("user",)
    relates_rows = True
    needs_contrast = False
    ranks_catalogue = True

    of: str
    """Name of the item's SemanticIds feature."""
    code_width: int = Field(default=64, ge=1)
    """Width of the vectors by which the decoder reads codes."""

    @model_validator(mode="after")
    def _nothing_before(self) -> Self:
        if self.after is not None:
            raise ValueError("Generative tells which item, not whether: it cannot come `after` a task")
        return self

    @property
    def numbers_of(self) -> str | None:
        return self.of

    def fit(self, labels: pl.Series) -> State:
        label, numbers = self._parts(labels)
        if numbers is None or not isinstance(numbers.dtype, pl.Array):
            remedy = "Name one of the item's features in `of`."
            raise self.wrong_labels("the codes of a SemanticIds feature beside it", f"the type {labels.dtype}", remedy)
        if not (flags(self, label) == POSITIVE).any():
            raise self.wrong_labels("at least one true label", "none", "Check the label, or drop the task.")
        return pl.DataFrame(
            {"levels": [numbers.dtype.size], "size": [int(numbers.explode().drop_nulls().to_numpy().max()) + 1]}
        )

    def targets(self, labels: pl.Series, state: State) -> Tensor:
        """Return 1, 0 or -1 for a true, a false and an unobserved row, and its item's numbers or, untold, zeros: (B, 1 + L)."""
        label, numbers = self._parts(labels)
        levels, size = state["levels"][0], state["size"][0]
        rows = flags(self, label).fill_null(UNOBSERVED).alias("flag").to_frame()
        if numbers is not None:
            rows = rows.with_columns(numbers.alias(NUMBERS))
        untold = numbers is None
        numbered = [pl.lit(0) if untold else pl.col(NUMBERS).arr.get(at).fill_null(0).clip(0, size - 1) for at in range(levels)]
        return rows.select("flag", *(number.alias(f"{at}") for at, number in enumerate(numbered))).cast(pl.Int32).to_torch()

    def observed(self, labels: pl.Series, state: State) -> Tensor:
        return flags(self, self._parts(labels)[0]).is_not_null().to_torch()

    def outputs(self, state: State) -> int:
        return state["levels"][0] * (state["size"][0] + 1)

    def build(self, width: int, state: State) -> Head:
        levels, size = state["levels"][0], state["size"][0]
        return GenerativeHead(width, self.tower, levels, size, self.code_width, self.dropout)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        logits_BLK, numbers_BL = raw.unflatten(1, (target.shape[1] - 1, -1))[:, :, :-1], target[:, 1:].long()
        return torch.where(self.counts(target), -_log_probability(logits_BLK, numbers_BL), 0.0)

    def counts(self, target: Tensor) -> Tensor:
        """Return which rows are true."""
        return target[:, 0] == POSITIVE

    def predict(self, raw: Tensor, state: State) -> Tensor:
        raw_BLX = raw.unflatten(1, (state["levels"][0], -1))
        numbers_BL = raw_BLX[:, :, -1].round().long().clamp(0, state["size"][0] - 1)
        return _log_probability(raw_BLX[:, :, :-1], numbers_BL).exp()

    def truth(self, target: Tensor, state: State) -> Tensor:
        return target[:, 0].double()

    def constant(self, targets: Tensor) -> Tensor:
        """Return the logits of the share of each number among the true rows, whatever the numbers before it."""
        true_PL = targets[self.counts(targets), 1:].long()
        size = int(targets[:, 1:].max()) + 1
        share_LK = torch.stack([torch.bincount(own_P, minlength=size).float() for own_P in true_PL.unbind(1)])
        log_LK = (share_LK / max(len(true_PL), 1)).clamp(min=1e-6).log()
        return torch.cat([log_LK, torch.zeros(len(log_LK), 1)], 1).reshape(1, -1)

    def _parts(self, labels: pl.Series) -> tuple[pl.Series, pl.Series | None]:
        """Return the label and the item's numbers, (L,) each, where they stand beside it."""
        if not isinstance(labels.dtype, pl.Struct):
            return labels, None
        names = [field.name for field in labels.dtype.fields]
        if "label" not in names:
            raise self.wrong_labels("a label", f"the type {labels.dtype}", "Write a condition, such as 'rating >= 4'.")
        return labels.struct.field("label"), labels.struct.field(NUMBERS) if NUMBERS in names else None


def _log_probability(logits_BLK: Tensor, numbers_BL: Tensor) -> Tensor:
    """Return the log probability (B,) of the numbers of all levels."""
    return torch.log_softmax(logits_BLK, 2).gather(2, numbers_BL.unsqueeze(2)).squeeze(2).sum(1)
