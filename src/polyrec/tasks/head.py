"""`Head`: from the shared network to the raw outputs of one task.

Shape letters: B rows, H hidden width, S width of a state, C outputs.
"""

from __future__ import annotations

from torch import Tensor, nn

from polyrec.layers.mlp import MLP


class Head(nn.Module):
    """Base of the heads. Maps hidden states (B, H), one for each of the task's views, to raw outputs (B, C), or (B,) for C = 1.

    A head has two parts: `state` makes what a later task may be given, `output` the raw outputs. A link changes the state
    between them.
    """

    numbers: int = 0
    """How many numbers of the row's item the head is given after its hidden states."""
    width: int
    """Width S of the state."""

    def __call__(self, *hidden_BH: Tensor) -> Tensor:
        return super().__call__(*hidden_BH)

    def forward(self, *hidden_BH: Tensor) -> Tensor:
        """Map the hidden state of each of the task's views to raw outputs."""
        return self.output(self.state(*hidden_BH))

    def state(self, *hidden_BH: Tensor) -> Tensor:
        """Return the state (B, S): what a later task may be given."""
        raise NotImplementedError

    def output(self, state_BS: Tensor) -> Tensor:
        """Return the raw outputs (B, C), or (B,) for C = 1, for a state."""
        raise NotImplementedError


class TowerHead(Head):
    """A tower of layers and a last linear layer, over one hidden state: the usual head."""

    def __init__(self, width: int, tower: tuple[int, ...], outputs: int, dropout: float) -> None:
        super().__init__()
        self.tower = MLP(width, tower, dropout)
        self.last = nn.Linear(self.tower.width, outputs)
        self.width, self.outputs = self.tower.width, outputs

    def state(self, *hidden_BH: Tensor) -> Tensor:
        (only_BH,) = hidden_BH
        return self.tower(only_BH)

    def output(self, state_BS: Tensor) -> Tensor:
        raw_BC: Tensor = self.last(state_BS)
        return raw_BC.squeeze(1) if self.outputs == 1 else raw_BC
