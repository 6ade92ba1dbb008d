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
"""First number of a target for a null label, and for a true label."""


class GenerativeHead(Head):
    """A tower over the user's hidden state, and a decoder over the codes of the row's item.

    Maps the hidden state (B, H) and the item's numbers (B, L) to raw outputs (B, L (K + 1)): per level, the logits of its K
    numbers, given the item's numbers at earlier levels, and the item's number at this level.
    """

    def __init__(self, width: int, tower: tuple[int, ...], levels: int, size: int, code_width: int, dropout: float) -> None:
        super().__init__()
        self.tower = MLP(width, tower, dropout)
        self.decoder = CodeDecoder(levels, size, self.tower.width, code_width)
        self.numbers, self.width = levels, self.tower.width + levels

    def state(self, *hidden_BH: Tensor) -> Tensor:
        """Return the user's state, followed by the item's numbers."""
        user_BH, numbers_BL = hidden_BH
        return torch.cat([self.tower(user_BH), numbers_BL], 1)

    def output(self, state_BH: Tensor) -> Tensor:
        user_BH, number_BL = state_BH.split([self.tower.width, self.decoder.levels], 1)
        numbers_BL = number_BL.long().clamp(max=self.decoder.size - 1)
        logits_BLK = self.decoder(user_BH, numbers_BL)
        return torch.cat([logits_BLK, numbers_BL.to(logits_BLK.dtype).unsqueeze(2)], 2).flatten(1)


class Generative(Task):
    """The item that a user chooses, generated as its semantic id from the coarsest code to the finest.

    Labels: true where the user chose the item; all may be true. Output: the probability of the item's codes given the user,
    `p(c_1, ..., c_L | u) = prod_l softmax(W_l h_l)[c_l]`, where `h_l` is the user's state after a recurrent decoder has read
    the earlier codes. Loss of a true row: `-log p`, the cross-entropy summed over levels. No negatives are drawn, since the
    softmax is over codes. Items with equal codes have equal probabilities; a `SemanticIds` with a `key` distinguishes them. The
    probabilities of all items sum to at most 1: codes without an item have probability, too.

    TIGER (Rajput et al., NeurIPS 2023) is an encoder-decoder like T5 over the codes of the history. Here the user's state is
    one vector, the output of the shared network for all user features, without cross-attention; the codes of the history are
    one such feature, a `History` of the same feature with `SASRec`. The decoder is a recurrent cell. `polyrec.Generator`
    searches only the tree of existing codes, whereas TIGER filters codes without an item afterwards. The last code, which
    distinguishes items with equal codes, is 0 for an unseen item. State, one row: `levels`, and `size` of a level.
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
    """Width of the decoder's embeddings of codes."""

    @model_validator(mode="after")
    def _nothing_before(self) -> Self:
        if self.after is not None:
            raise ValueError("Generative predicts which item, not whether: it cannot come `after` a task")
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
        """Return 1, 0 or -1 for a true, false or unobserved row, and its item's numbers, or zeros if absent: (B, 1 + L)."""
        label, numbers = self._parts(labels)
        levels, size = state["levels"][0], state["size"][0]
        rows = flags(self, label).fill_null(UNOBSERVED).alias("flag").to_frame()
        if numbers is not None:
            rows = rows.with_columns(numbers.alias(NUMBERS))
        untold = numbers is None
        own = [pl.lit(0) if untold else pl.col(NUMBERS).arr.get(at).fill_null(0).clip(0, size - 1) for at in range(levels)]
        return rows.select("flag", *(number.alias(f"{at}") for at, number in enumerate(own))).cast(pl.Int32).to_torch()

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
        """Return the mask of true rows."""
        return target[:, 0] == POSITIVE

    def predict(self, raw: Tensor, state: State) -> Tensor:
        raw_BLX = raw.unflatten(1, (state["levels"][0], -1))
        numbers_BL = raw_BLX[:, :, -1].round().long().clamp(0, state["size"][0] - 1)
        return _log_probability(raw_BLX[:, :, :-1], numbers_BL).exp()

    def truth(self, target: Tensor, state: State) -> Tensor:
        return target[:, 0].double()

    def constant(self, targets: Tensor) -> Tensor:
        """Return the logits of each number's share among the true rows, independent of earlier numbers."""
        true_PL = targets[self.counts(targets), 1:].long()
        size = int(targets[:, 1:].max()) + 1
        count_LK = torch.stack([torch.bincount(numbers_P, minlength=size).float() for numbers_P in true_PL.unbind(1)])
        log_LK = (count_LK / max(len(true_PL), 1)).clamp(min=1e-6).log()
        return torch.cat([log_LK, torch.zeros(len(log_LK), 1)], 1).reshape(1, -1)

    def _parts(self, labels: pl.Series) -> tuple[pl.Series, pl.Series | None]:
        """Return the label and the item's numbers, (L,) each, or None if the labels contain no numbers."""
        if not isinstance(labels.dtype, pl.Struct):
            return labels, None
        names = [field.name for field in labels.dtype.fields]
        if "label" not in names:
            raise self.wrong_labels("a label", f"the type {labels.dtype}", "Write a condition, such as 'rating >= 4'.")
        return labels.struct.field("label"), labels.struct.field(NUMBERS) if NUMBERS in names else None


def _log_probability(logits_BLK: Tensor, numbers_BL: Tensor) -> Tensor:
    """Return the log probability (B,) of the numbers of all levels."""
    return torch.log_softmax(logits_BLK, 2).gather(2, numbers_BL.unsqueeze(2)).squeeze(2).sum(1)
