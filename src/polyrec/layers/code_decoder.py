"""Predict one code after another from a state. Shape letters: B rows, H width of the state, L levels, K codes of a level."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CodeDecoder(nn.Module):
    """`log p(c_1, ..., c_L | s) = sum_l log softmax(W_l h_l)[c_l]` with `h_1 = s` and `h_(l+1) = GRU(e_l(c_l), h_l)`.

    A recurrent cell (Cho et al., EMNLP 2014) reads each code before the next one is predicted.
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
        """Return the logits of every level, (B, L, K), given the codes of the previous levels."""
        logits = [self.logits(state_BH, 0)]
        for level in range(self.levels - 1):
            state_BH = self.read(state_BH, level, numbers_BL[:, level])
            logits.append(self.logits(state_BH, level + 1))
        return torch.stack(logits, 1)

    def logits(self, state_BH: Tensor, level: int) -> Tensor:
        """Return the logits (B, K) of one level for its states."""
        return self.outputs[level](state_BH)

    def read(self, state_BH: Tensor, level: int, numbers_B: Tensor) -> Tensor:
        """Return the states (B, H) after reading the codes of a level."""
        return self.cell(self.codes[level](numbers_B), state_BH)
