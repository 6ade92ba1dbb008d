"""Transformer: self-attention over field tokens. Shape letters: B rows, D total width of fields, F fields, K token width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from polyrec.layers.tokens import FieldTokens
from polyrec.layers.transformer import TransformerBlock
from polyrec.trunks.trunk import Trunk, TrunkModule


class Transformer(Trunk):
    """Self-attention among the fields, read at a learned summary token: `norm(blocks([summary, token_1..F]))_summary`.

    Attention to learn field crosses is from AutoInt (Song et al., CIKM 2019); pre-norm blocks with feed-forward layers and the
    summary token are from FT-Transformer (Gorishniy et al., NeurIPS 2021). Unlike in AutoInt, the output is one token instead
    of all tokens concatenated, so the layers above do not grow with the number of fields. Feed-forward layers use ReLU, while
    those of FT-Transformer are gated.
    """

    examples = ({}, {"width": 8, "heads": 4, "layers": 1, "feed_forward": 12, "dropout": 0.1})

    width: int = Field(default=32, gt=0)
    """Width of the token of a field, and of the output."""
    heads: int = Field(default=2, ge=1)
    """Number of attention heads, among which the width is divided."""
    layers: int = Field(default=2, ge=1)
    """Number of blocks."""
    feed_forward: int = Field(default=64, gt=0)
    """Width of the hidden layer after each attention."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads; choose a multiple of these")
        return self

    def build(self, widths: Sequence[int]) -> TrunkModule:
        blocks = [TransformerBlock(self.width, self.heads, self.feed_forward, self.dropout) for _ in range(self.layers)]
        return TransformerTrunk(FieldTokens(widths, self.width), blocks)


class TransformerTrunk(TrunkModule):
    """A summary token before the field tokens, blocks, and the norm of the summary."""

    def __init__(self, tokens: FieldTokens, blocks: Sequence[TransformerBlock]) -> None:
        super().__init__()
        self.tokens, self.blocks = tokens, nn.ModuleList(blocks)
        self.width = tokens.width
        self.summary_K = nn.Parameter(torch.randn(self.width) * self.width**-0.5)
        self.norm = nn.LayerNorm(self.width)

    def forward(self, x_BD: Tensor) -> Tensor:
        x_BFK = torch.cat([self.summary_K.expand(x_BD.shape[0], 1, -1), self.tokens(x_BD)], 1)
        for block in self.blocks:
            x_BFK = block(x_BFK)
        return self.norm(x_BFK[:, 0])
