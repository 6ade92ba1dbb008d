"""Single-task baselines, each with as many parameters as the model of all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import torch

from polyrec.compare.fits.tables import whole_state
from polyrec.model.model import Model
from polyrec.networks.network import Network
from polyrec.prepare.prepare import fit_features
from polyrec.recommender import Recommender
from polyrec.tasks.task import Task

_WIDEST = 8192


class Counter:
    """Counts parameters of declarations on one table; vocabularies and classes are fitted once."""

    def __init__(self, spec: Recommender, frame: pl.DataFrame) -> None:
        self.features = fit_features(spec, frame)
        self.tasks = {task.name: whole_state(spec, task, frame) for task in spec.tasks}

    def __call__(self, spec: Recommender) -> int:
        """Return the number of parameters outside embedding tables, without allocating them."""
        states = {task.name: self.tasks[task.name] for task in spec.tasks}
        with torch.device("meta"):
            model = Model(spec.all_features, self.features, spec.tasks, states, spec.network, spec.views)
        tables = sum(table.weight.numel() for table in model.tables())
        return sum(parameter.numel() for parameter in model.parameters()) - tables


def single(spec: Recommender, task: Task, count: Counter) -> Recommender:
    """Return the declaration of one task, with a network as large as that of the declaration of all tasks.

    All layer widths of the network are scaled by one factor; the rest is as in `Recommender.alone`.
    """
    alone = spec.alone(task.name)
    target = count(spec)
    largest = max(_widths(spec.network), default=0)
    if largest == 0:
        return alone
    low, high = 1, _WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(_scaled(alone, middle, largest)) <= target else (low, middle)
    near = [_scaled(alone, width, largest) for width in (low, high)]
    return min(near, key=lambda scaled: abs(count(scaled) - target))


def _scaled(spec: Recommender, width: int, largest: int) -> Recommender:
    """Return the declaration with all layers of its network scaled such that the widest has the given width."""
    return spec.replace(network=_scaled_network(spec.network, width, largest))


def _scaled_network(network: Network, width: int, largest: int) -> Network:
    changes: dict[str, Any] = {
        field: tuple(max(1, round(layer * width / largest)) for layer in widths) for field, widths in _layers(network).items()
    }
    return network.replace(**changes)


def _widths(network: Network) -> list[int]:
    return [width for widths in _layers(network).values() for width in widths]


def _layers(network: Network) -> Mapping[str, tuple[int, ...]]:
    """Return the layer widths of a network by field."""
    fields = {name: getattr(network, name) for name in type(network).model_fields}
    return {name: value for name, value in fields.items() if name == "hidden" or name.endswith("_hidden")}
