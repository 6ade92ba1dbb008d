"""Pooling of a text's token states to one vector. Shape letters: B texts, L tokens, D width."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("mean", "cls", "last", "weighted_mean", "max")
"""Names of the poolings of `pool`."""


def pool(states_BLD: Tensor, mask_BL: Tensor, pooling: str, skipped: int = 0) -> Tensor:
    """Return (B, D): the mean, the first real token (`cls`), the last one, the position-weighted mean, or the maximum.

    The mask marks the real tokens, so the result does not depend on the side of the padding; taking token 0 or -1 instead would
    return padding on one of the sides. `weighted_mean` weighs the token at position `p = 1, 2, …` by `p`, because a token of a
    causal model has seen `p` tokens (Muennighoff, "SGPT", 2022). The first `skipped` tokens, those of a prompt, are ignored.
    A text without a real token has the vector 0.
    """
    assert pooling in POOLINGS
    place_BL = mask_BL.long().cumsum(1)
    mask_BL = mask_BL.bool() & (place_BL > skipped)
    if pooling == "max":
        largest_BD = states_BLD.masked_fill(~mask_BL[:, :, None], float("-inf")).amax(1)
        return torch.where(mask_BL.any(1, keepdim=True), largest_BD, 0.0)
    if pooling in ("mean", "weighted_mean"):
        weight_BL = mask_BL * (place_BL if pooling == "weighted_mean" else 1)
        share_BL = weight_BL / weight_BL.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("bl,bld->bd", share_BL.to(states_BLD.dtype), states_BLD)
    first_B = mask_BL.long().argmax(1)
    last_B = mask_BL.shape[1] - 1 - mask_BL.flip(1).long().argmax(1)
    position_B = first_B if pooling == "cls" else last_B
    chosen_BD = states_BLD[torch.arange(len(states_BLD), device=states_BLD.device), position_B]
    return torch.where(mask_BL.any(1, keepdim=True), chosen_BD, 0.0)
