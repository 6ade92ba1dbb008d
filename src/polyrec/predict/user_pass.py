"""`UserPass`: the forward pass for one user and many items, in which everything that depends on the user alone runs once.

Shape letters: N rows, B rows of a piece, C outputs of a task, F width of the fixed features, O width of the features that vary
from item to item, X numbers of an item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from polyrec.core.batch import Batch, Column
from polyrec.data.prepared import Prepared
from polyrec.declaration.declaration import Declaration
from polyrec.fusion.context import Context
from polyrec.model.model import Model
from polyrec.networks.beside import Beside
from polyrec.predict.outputs import BATCH, Pass, TaskTensors, joined

_CACHED, _FEWEST = 2**18, 128
"""float32 values in 1 MiB; smallest number of rows per pass whose run time exceeds the call overhead."""

Varying = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns the vectors that vary from item to item, (B, O), and the items' numbers, (B, X), for some rows of the catalogue."""


@dataclass(frozen=True)
class Sides:
    """Names of features, by how their vectors vary from item to item for one user."""

    item: Sequence[str]
    """Features of the item alone; their vectors are computed once for all users."""
    aimed: Sequence[str]
    """Histories of the user that depend on the item."""
    fixed: Sequence[str]
    """All other features; their vectors are the same for every item."""


class UserPass:
    """Forward pass for one user and some items; it depends on the weights, not on the catalogue."""

    def __init__(self, model: Model, spec: Declaration) -> None:
        self.model, self._pass = model, Pass(model, spec)
        aimed = [f.name for f in spec.all_features if f.sees_target]
        item = [feature.name for feature in spec.item]
        self.sides = Sides(item, aimed, [f.name for f in spec.all_features if f.name not in (*item, *aimed)])

    @cached_property
    def networks(self) -> list[Beside]:
        """The shared network for each view; each computes the fixed features' part once a request."""
        model, sides = self.model, self.sides
        varying_O, fixed_F = torch.cat([model.columns(sides.item), model.columns(sides.aimed)]), model.columns(sides.fixed)
        views = (model.get_buffer(f"visible_{number}") for number in range(len(model.views)))
        return [Beside(model.network, varying_O, fixed_F, visible_D) for visible_D in views]

    @cached_property
    def _piece(self) -> int:
        """Number of rows per pass: as many as keep the outputs of the first layers within a core's cache."""
        widest = max(network.width for network in self.networks)
        return min(max(_CACHED // max(widest, 1), _FEWEST), BATCH)

    def fixed(self, user: Mapping[str, Column]) -> Tensor:
        """Return the concatenated vectors of the fixed features, (F,)."""
        inputs = {name: column.take(torch.zeros(1, dtype=torch.long)) for name, column in user.items()}
        return self.model.encode(Batch(inputs, {}, {}, 1), self.sides.fixed)[0]

    def item_vectors(self, columns: Mapping[str, Column], rows: int) -> tuple[Tensor, Tensor]:
        """Return the concatenated vectors of the item features, (N, .), and the items' numbers, (N, X)."""
        prepared = Prepared.of_inputs(columns, rows)
        with torch.inference_mode():
            vectors = torch.cat([self.model.encode(batch, self.sides.item) for batch in prepared.batches(BATCH)])
        width = len(self.model.columns(self.sides.item))
        return vectors[:, :width], vectors[:, width:]

    def raw(self, fixed_F: Tensor, varying: Varying, rows_N: Tensor) -> TaskTensors:
        """Return the raw outputs (N,) or (N, C) of all tasks for some rows of the catalogue."""
        pieces: list[TaskTensors] = []
        for rows_B in rows_N.split(self._piece):
            varying_BO, numbers_BX = varying(rows_B)
            hidden = self.model.hidden(partial(self._hidden, fixed_F, varying_BO))
            states = self._pass.states_in(hidden)
            pieces.append(TaskTensors(self.model.outputs(hidden, numbers_BX), Context(states)))
        raw = joined(pieces)
        return TaskTensors(raw, Context(raw.context.states, self._features(fixed_F)))

    def task_outputs(self, task: str, fixed_F: Tensor, varying: Varying, rows_N: Tensor) -> Tensor:
        """Return the raw outputs of one task for some rows of the catalogue; no other task is computed."""
        reads = [
            (place, view) for view, readers in enumerate(self.model.views.values()) for name, place in readers if name == task
        ]
        views = [view for _, view in sorted(reads)]
        head = self.model.heads[task]
        pieces = [varying(rows_B)[0] for rows_B in rows_N.split(self._piece)]
        hidden = ([self.networks[view](fixed_F, varying_BO, [task])[task] for view in views] for varying_BO in pieces)
        return torch.cat([head.output(head.state(*states)) for states in hidden])

    def _hidden(self, fixed_F: Tensor, varying_BO: Tensor, view: int, tasks: Sequence[str]) -> Mapping[str, Tensor]:
        return self.networks[view](fixed_F, varying_BO, tasks)

    def _features(self, fixed_F: Tensor) -> dict[str, Tensor]:
        """Return the vectors (1, K) of the features that the fusion reads."""
        columns_F = self.model.columns(self.sides.fixed)
        return {name: fixed_F[torch.searchsorted(columns_F, place)][None] for name, place in self._pass.places.items()}
