"""Softmax gates that mix experts, evaluated together for all readers.

Shape letters: B rows, D input width, E experts, O private experts per reader, T readers (such as tasks), H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyrec.layers.experts import batched_linear, choose


class Gates(nn.Module):
    """`softmax(x W_t)` for each of T readers over E experts, as one product. Gates start at equal weights (W_t = 0).

    `forward` maps (B, D), or one input per requested reader, (T, B, D), to (T, B, E).
    """

    def __init__(self, readers: int, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(readers, width, experts))

    def __call__(self, x_TBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        return super().__call__(x_TBD, chosen)

    def forward(self, x_TBD: Tensor, chosen: Sequence[int] | None = None) -> Tensor:
        """Return the gates of the chosen readers in their order, or of all."""
        return torch.softmax(batched_linear(x_TBD, choose(self.weight, chosen)), 2)


def mix(gate_TBE: Tensor, h_EBH: Tensor) -> Tensor:
    """Return for each reader the weighted sum of the experts' outputs, (T, B, H)."""
    return torch.einsum("tbe,ebh->tbh", gate_TBE, h_EBH)


def mix_private(gate_TBO: Tensor, h_EBH: Tensor) -> Tensor:
    """Return the same for readers with O private experts each: E = T * O, those of the first reader first."""
    readers, _, per_reader = gate_TBO.shape
    return torch.einsum("tbo,tobh->tbh", gate_TBO, h_EBH.unflatten(0, (readers, per_reader)))


def private_experts(chosen: Sequence[int], per_reader: int) -> list[int]:
    """Return the positions of the chosen readers' experts among the private experts of all readers."""
    return [reader * per_reader + expert for reader in chosen for expert in range(per_reader)]
