"""One vector from the token states of a text. Shape letters: B texts, L tokens, D width."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("mean", "cls", "last")
"""The poolings that `pool` knows."""


def pool(states_BLD: Tensor, mask_BL: Tensor, pooling: str) -> Tensor:
    """Return (B, D): the mean over real tokens, the first real token (`cls`), or the last real token (`last`).

    The mask says which tokens are real, so the result is the same whichever side the tokenizer pads; taking token 0 or -1
    instead returns padding on one of the two sides. A text without a real token has the vector 0.
    """
    length = mask_BL.shape[1]
    if pooling == "mean":
        weight_BL1 = (mask_BL / mask_BL.sum(1, keepdim=True).clamp(min=1)).unsqueeze(2)
        return (states_BLD * weight_BL1.to(states_BLD.dtype)).sum(1)
    first_B = mask_BL.long().argmax(1)
    last_B = length - 1 - mask_BL.flip(1).long().argmax(1)
    position_B = first_B if pooling == "cls" else last_B
    chosen_BD = states_BLD[torch.arange(len(states_BLD)), position_B]
    return torch.where(mask_BL.any(1, keepdim=True), chosen_BD, 0.0)
