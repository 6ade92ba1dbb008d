"""Bypass: tasks that compare the vectors of two features directly, without the shared network.

Shape letters: B rows, D width of all features together, K width of the two features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from torch import Tensor, nn

from polyrec.networks.shared_network import SharedNetwork


class Bypass(SharedNetwork):
    """A shared network that some tasks bypass by reading two features directly.

    Such a task has one view of the user's feature and one of the item's; in each view the other feature is zero. The state of
    either view is the sum of both features' vectors.
    """

    def __init__(self, shared: SharedNetwork, fields: Mapping[str, int], direct: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.shared, self.width = shared, shared.width
        starts = dict(zip(fields, accumulate(fields.values(), initial=0), strict=False))
        self.places = {
            task: [slice(starts[name], starts[name] + fields[name]) for name in features] for task, features in direct.items()
        }

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        states: dict[str, Tensor] = {}
        for task in tasks:
            if task in self.places:
                first, second = self.places[task]
                states[task] = x_BD[:, first] + x_BD[:, second]
        indirect = [task for task in tasks if task not in states]
        return states | (self.shared(x_BD, indirect) if indirect else {})

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        return self.shared.gates(x_BD, [task for task in tasks if task not in self.places])

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return self.shared.last_shared()
