"""`Model`: encoders, shared network and heads in one module.

Shape letters: B rows, D width of all features together, X columns of item numbers appended to them, H hidden width, E experts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from polyrec.core.batch import Batch, Input
from polyrec.features.feature import Feature, Rates, State
from polyrec.layers.named import Named
from polyrec.model.encoders import Encoders
from polyrec.networks.bypass import Bypass
from polyrec.networks.network import Network
from polyrec.networks.shared_network import SharedNetwork
from polyrec.tasks.head import Head
from polyrec.tasks.link import LinkModule
from polyrec.tasks.order import in_order
from polyrec.tasks.task import Task

Views = Mapping[str, Sequence[frozenset[str]]]
"""The features of each view by task. Most tasks have one view; tasks that compare the user with the item have two."""

Shared = Callable[[int, Sequence[str]], Mapping[str, Tensor]]
"""Function from the index of a view and task names to the tasks' hidden states (B, H)."""


class Model(nn.Module):
    """The module from features to the raw outputs of every task.

    The shared network runs once per distinct view; the vectors of features outside the view are zero. Most declarations have
    one view. Heads run in the order of the tasks' links, so that the state of a later task can depend on that of an earlier
    one.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        feature_states: Mapping[str, State],
        tasks: Sequence[Task],
        task_states: Mapping[str, State],
        network: Network,
        views: Views,
    ) -> None:
        super().__init__()
        self.tasks = tuple(task.name for task in tasks)
        copies = network.copies(self.tasks)
        encoders = [Encoders(features, feature_states) for _ in range(copies)]
        fields = encoders[0].fields
        self.copies = nn.ModuleList(encoders)
        shared = network.build(fields, self.tasks)
        direct = {task.name: task.inputs for task in tasks if task.is_direct}
        if direct:
            shared = Bypass(shared, fields, direct)
        adapters = network.adapters
        self.network: SharedNetwork = shared if adapters is None else adapters.build(shared, fields, self.tasks, copies)
        self.heads, self.links = Named[Head](), Named[LinkModule]()
        self.earlier: dict[str, tuple[str, ...]] = {}
        for task in in_order(tasks):
            head = task.build(self.network.width, task_states[task.name])
            self.heads[task.name] = head
            if task.after is not None:
                widths = [self.heads[name].width for name in task.after.tasks]
                link = task.after.build(head.width, widths)
                if link is not None:
                    self.links[task.name], self.earlier[task.name] = link, task.after.tasks
        self.parts = {name: len(views[name]) for name in self.tasks}
        self.width = copies * sum(fields.values())
        self.numbers_of = {task.name: task.numbers_of for task in tasks if task.numbers_of is not None}
        self.places: dict[str, slice] = {}
        start = 0
        for name in self.numbers_of:
            self.places[name] = slice(start, start := start + self.heads[name].numbers)
        self.views: dict[frozenset[str], list[tuple[str, int]]] = {}
        for name in self.tasks:
            for position, view in enumerate(views[name]):
                self.views.setdefault(view, []).append((name, position))
        self.sees_all = [names.issuperset(fields) for names in self.views]
        for number, names in enumerate(self.views):
            kept = [torch.full((width,), float(name in names)) for name, width in fields.items()]
            self.register_buffer(f"visible_{number}", torch.cat(kept).repeat(copies), persistent=False)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return super().__call__(batch)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the raw outputs (B,) or (B, C) of every task."""
        return self.decode(self.encode(batch))

    def encode(self, batch: Batch, only: Collection[str] | None = None) -> Tensor:
        """Return the concatenated vectors of all features, or of the features in `only`, (B, D): the feature boundary.

        The item numbers of tasks with `numbers_of` are appended. They are input of the heads, not of the shared network.
        """
        vectors = [copy(batch, only) for copy in self.copies]
        vectors += [_numbers(batch.inputs[name]) for name in self.numbers_of.values() if only is None or name in only]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, 1)

    def columns(self, names: Collection[str]) -> Tensor:
        """Return the columns of some features' vectors in the output of `encode`."""
        first = self.copies[0]
        assert isinstance(first, Encoders)
        is_named = [torch.full((width,), name in names) for name, width in first.fields.items()]
        return torch.cat(is_named).repeat(len(self.copies)).nonzero().squeeze(1)

    def decode(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Return the raw outputs of every task from concatenated feature vectors."""
        return self.outputs(self.hidden(self.shared(x_BD)), x_BD[:, self.width :])

    def shared(self, x_BD: Tensor) -> Shared:
        """Return the shared network applied to concatenated feature vectors."""
        vectors_BD = x_BD[:, : self.width]
        return lambda number, tasks: self.network(self._masked(vectors_BD, number), tasks)

    def hidden(self, shared: Shared) -> dict[str, list[Tensor]]:
        """Return the input of each task's head: the hidden state (B, H) of each of its views."""
        hidden_BH: dict[tuple[str, int], Tensor] = {}
        for number, users in enumerate(self.views.values()):
            states = shared(number, list(dict.fromkeys(name for name, _ in users)))
            hidden_BH |= {(name, position): states[name] for name, position in users}
        return {name: [hidden_BH[name, position] for position in range(self.parts[name])] for name in self.tasks}

    def outputs(self, hidden_BH: Mapping[str, Sequence[Tensor]], numbers_BX: Tensor) -> dict[str, Tensor]:
        """Return the raw outputs of every task from the hidden states of `hidden` and the item numbers appended to the feature
        vectors."""
        states: dict[str, Tensor] = {}
        raws: dict[str, Tensor] = {}
        for name in self.heads:
            head = self.heads[name]
            numbers = [numbers_BX[:, self.places[name]]] if name in self.places else []
            states[name] = head.state(*hidden_BH[name], *numbers)
            if name in self.links:
                states[name] = self.links[name](states[name], [states[earlier] for earlier in self.earlier[name]])
            raws[name] = head.output(states[name])
        return {name: raws[name] for name in self.tasks}

    def gates(self, batch: Batch) -> dict[str, Tensor]:
        """Return each task's expert weights (B, E) in its first view; empty for networks without gates."""
        x_BD = self.encode(batch)[:, : self.width]
        weights: dict[str, Tensor] = {}
        for number, users in enumerate(self.views.values()):
            first = [name for name, position in users if position == 0]
            weights |= self.network.gates(self._masked(x_BD, number), first) if first else {}
        return {name: weights[name] for name in self.tasks if name in weights}

    def tables(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the embedding tables of ids."""
        return [table for copy in self.copies if isinstance(copy, Encoders) for table in copy.tables()]

    def tables_by_rows(self) -> list[nn.Embedding | nn.EmbeddingBag]:
        """Return the embedding tables of which a batch reads only some rows; sparse training updates these rows only."""
        return [table for copy in self.copies if isinstance(copy, Encoders) for table in copy.tables_by_rows()]

    def rates(self) -> Rates:
        """Return the parameters with their own learning rate."""
        return [rate for copy in self.copies if isinstance(copy, Encoders) for rate in copy.rates()]

    def _masked(self, x_BD: Tensor, number: int) -> Tensor:
        return x_BD if self.sees_all[number] else x_BD * self.get_buffer(f"visible_{number}")


def _numbers(values: Input) -> Tensor:
    """Return integers as float32, exact up to 2^24."""
    assert isinstance(values, Tensor)
    return values.float()
