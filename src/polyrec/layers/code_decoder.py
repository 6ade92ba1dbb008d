"""One code after another, given a state. Shape letters: B rows, H width of the state, L levels, K numbers of a level."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CodeDecoder(nn.Module):
    """`log p(c_1, ..., c_L | s) = sum_l log softmax(W_l h_l)[c_l]` with `h_1 = s` and `h_(l+1) = GRU(e_l(c_l), h_l)`.

    A recurrent cell (Cho et al., EMNLP 2014) reads each code before the next is told.
    """

    def __init__(self, levels: int, size: int, state: int, code_width: int) -> None:
        super().__init__()
        self.levels, self.size = levels, size
        self.codes = nn.ModuleList(nn.Embedding(size, code_width) for _ in range(levels - 1))
        self.cell = nn.GRUCell(code_width, state)
        self.outputs = nn.ModuleList(nn.Linear(state, size) for _ in range(levels))

    def __call__(self, state_BH: Tensor, numbers_BL: Tensor) -> Tensor:
        return super().__call__(state_BH, numbers_BL)

    def forward(self, state_BH: Tensor, numbers_BL: Tensor) -> Tensor:
        """Return the logits of every level, given the numbers of the levels before it: (B, L, K)."""
        found = [self.logits(state_BH, 0)]
        for level in range(self.levels - 1):
            state_BH = self.read(state_BH, level, numbers_BL[:, level])
            found.append(self.logits(state_BH, level + 1))
        return torch.stack(found, 1)

    def logits(self, state_BH: Tensor, level: int) -> Tensor:
        """Return the logits of one level for states at it, (B, K)."""
        return self.outputs[level](state_BH)

    def read(self, state_BH: Tensor, level: int, numbers_B: Tensor) -> Tensor:
        """Return the states (B, H) after a level's numbers."""
        return self.cell(self.codes[level](numbers_B), state_BH)
