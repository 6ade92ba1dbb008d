"""Bypass: tasks that hold the vectors of two features against each other, past the shared network.

Shape letters: B rows, D width of all features together, K width of the two features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from torch import Tensor, nn

from polyrec.networks.shared_network import SharedNetwork


class Bypass(SharedNetwork):
    """A shared network beside which some tasks read two features as they are.

    Such a task has a view of the user's feature and one of the item's, and in each the other is zero: the state of either view
    is the sum of both features' vectors.
    """

    def __init__(self, shared: SharedNetwork, fields: Mapping[str, int], direct: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.shared, self.width = shared, shared.width
        starts = dict(zip(fields, accumulate(fields.values(), initial=0), strict=False))
        self.places = {task: [slice(starts[name], starts[name] + fields[name]) for name in own] for task, own in direct.items()}

    def forward(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for task in tasks:
            if task in self.places:
                first, second = self.places[task]
                found[task] = x_BD[:, first] + x_BD[:, second]
        through = [task for task in tasks if task not in found]
        return found | (self.shared(x_BD, through) if through else {})

    def gates(self, x_BD: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        return self.shared.gates(x_BD, [task for task in tasks if task not in self.places])

    def last_shared(self) -> tuple[nn.Parameter, ...]:
        return self.shared.last_shared()
