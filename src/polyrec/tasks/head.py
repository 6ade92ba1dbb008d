"""`Head`: from the shared network to the raw outputs of one task.

Shape letters: B rows, H hidden width, S width of a state, C outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from polyrec.layers.mlp import MLP


class Head(nn.Module):
    """Base of the heads. Maps hidden states (B, H), one per view of the task, to raw outputs (B, C), or (B,) for C = 1.

    A head has two parts: `state` computes a state that links pass to later tasks, and `output` maps it to raw outputs. A link
    can change the state between them.
    """

    numbers: int = 0
    """Number of item numbers per row that the head receives after its hidden states."""
    width: int
    """Width S of the state."""

    def __call__(self, *hidden_BH: Tensor) -> Tensor:
        return super().__call__(*hidden_BH)

    def forward(self, *hidden_BH: Tensor) -> Tensor:
        """Map the hidden state of each view of the task to raw outputs."""
        return self.output(self.state(*hidden_BH))

    def state(self, *hidden_BH: Tensor) -> Tensor:
        """Return the state (B, S), which links pass to later tasks."""
        raise NotImplementedError

    def output(self, state_BS: Tensor) -> Tensor:
        """Return the raw outputs of a state, (B, C), or (B,) for C = 1."""
        raise NotImplementedError


class TowerHead(Head):
    """The usual head: an MLP over one hidden state, and a linear output layer."""

    def __init__(self, width: int, tower: tuple[int, ...], outputs: int, dropout: float) -> None:
        super().__init__()
        self.tower = MLP(width, tower, dropout)
        self.last = nn.Linear(self.tower.width, outputs)
        self.width, self.outputs = self.tower.width, outputs

    def state(self, *hidden_BH: Tensor) -> Tensor:
        (view_BH,) = hidden_BH
        return self.tower(view_BH)

    def output(self, state_BS: Tensor) -> Tensor:
        raw_BC: Tensor = self.last(state_BS)
        return raw_BC.squeeze(1) if self.outputs == 1 else raw_BC
