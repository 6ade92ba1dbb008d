"""Base classes of networks with several levels of experts.

Shape letters: B rows, D input width, T tasks, E experts that a task reads, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from polyrec.layers.experts import choose
from polyrec.networks.gates import Gates
from polyrec.networks.inputs import Inputs
from polyrec.networks.shared_network import SharedNetwork


class Level(nn.Module):
    """Base of one level: experts, and a gate per task.

    `forward` maps the inputs of the tasks, (T, B, D), or (B, D) if common, and the input of the shared experts, (B, D), to
    those of the next level, for the chosen tasks only. At the last level the input of the shared experts is returned unchanged.
    """

    gate: Gates

    def __call__(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        return super().__call__(x_TBD, x_BD, chosen)

    def forward(self, x_TBD: Tensor, x_BD: Tensor, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def weights(self, x_TBD: Tensor, chosen: Sequence[int]) -> Tensor:
        """Return the gate weights (T, B, E) of the chosen tasks."""
        return self.gate(x_TBD if x_TBD.dim() == 2 else choose(x_TBD, chosen), chosen)

    def readers(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the linear maps that read the inputs, if this were the first level."""
        raise NotImplementedError

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        """Return the weights of the last layer that the losses of all tasks reach, if this were the last level."""
        raise NotImplementedError


class LevelsNetwork(SharedNetwork):
    """Stacked levels of experts; `level` builds one, given its input width and whether it is the last."""

    def __init__(
        self, inputs: Inputs, tasks: Sequence[str], levels: int, width: int, level: Callable[[int, bool], Level]
    ) -> None:
        super().__init__()
        self.inputs, self.tasks, self.width = inputs, tuple(tasks), width
        last = levels - 1
        self.levels = nn.ModuleList(level(width if place else inputs.width, place == last) for place in range(levels))

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        h_TBH, _ = self._last(*self._below(x_BD), self._places(tasks))
        return dict(zip(tasks, h_TBH, strict=True))

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights at the last level: of the task experts, in the order of the tasks, then of the shared experts."""
        x_TBD, _ = self._below(x_BD)
        return dict(zip(tasks, self._last.weights(x_TBD, self._places(tasks)), strict=True))

    def readers(self) -> tuple[nn.Parameter, ...]:
        first = self.levels[0]
        assert isinstance(first, Level)
        return self.inputs.readers(*first.readers())

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return self._last.last_shared()

    @property
    def _last(self) -> Level:
        last = self.levels[-1]
        assert isinstance(last, Level)
        return last

    def _places(self, tasks: Sequence[str]) -> list[int]:
        return [self.tasks.index(task) for task in tasks]

    def _below(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of the tasks and of the shared experts at the last level."""
        x_TBD = x_BD = self.inputs(x_BD)
        for level in list(self.levels)[:-1]:
            x_TBD, x_BD = level(x_TBD, x_BD, range(len(self.tasks)))
        return x_TBD, x_BD
