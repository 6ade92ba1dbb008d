"""What mixes experts: softmax gates, all of a network's at once.

Shape letters: B rows, D input width, E experts, O own experts of a task, T tasks (or other readers of experts), H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from polyrec.layers.experts import batched_linear, choose


class Gates(nn.Module):
    """`softmax(x W_t)` for each of T readers over E experts, as one product; they start at equal weights (W_t = 0).

    `forward` maps (B, D), or an input for each reader asked for, (T, B, D), to (T, B, E).
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
    """Return for each reader the sum of the experts' outputs, each times its weight, (T, B, H)."""
    return torch.einsum("tbe,ebh->tbh", gate_TBE, h_EBH)


def mix_own(gate_TBO: Tensor, h_EBH: Tensor) -> Tensor:
    """The same where each reader has experts of its own: E = T * O, those of the first reader first."""
    readers, _, own = gate_TBO.shape
    return torch.einsum("tbo,tobh->tbh", gate_TBO, h_EBH.unflatten(0, (readers, own)))


def own_experts(chosen: Sequence[int], own: int) -> list[int]:
    """Return where the experts of the chosen readers stand among all readers' own."""
    return [reader * own + expert for reader in chosen for expert in range(own)]
