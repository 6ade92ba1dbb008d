"""A stack of linear layers. Shape letters: B rows, D input width, H last hidden width."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear, ReLU and dropout for each width in `hidden`; the identity if `hidden` is empty.

    `forward` maps (B, D) to (B, H); `width` is H.
    """

    def __init__(self, width: int, hidden: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for out in hidden:
            steps += [nn.Linear(width, out), nn.ReLU()]
            if dropout > 0:
                steps.append(nn.Dropout(dropout))
            width = out
        self.width = width
        self.steps = nn.Sequential(*steps)

    def __call__(self, x_BD: Tensor) -> Tensor:
        return super().__call__(x_BD)

    def readers(self) -> tuple[nn.Parameter, ...]:
        """Return the weight of the first layer, the only one that reads the input; empty if there is no layer."""
        first = next(self.steps.children(), None)
        return tuple(first.parameters())[:1] if isinstance(first, nn.Linear) else ()

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.steps(x_BD)
