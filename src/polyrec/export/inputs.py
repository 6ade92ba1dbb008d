"""The inputs of an exported model: every feature as tensors of fixed rank.

- a value or a vector per row: `name`, (B,) or (B, …)
- several values per row: `name`, (B, V) integers, padded with -1
- if a task adds a bonus to new items: `item.new`, (B,), true if no known row contains the item
- a history: `name`, its elements (B, L, …), oldest first and padded at the front, and `name.mask` (B, L), true for real
  elements; L is the declared length of the history

Shape letters: B rows, V values of a row, L length of a history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from polyrec.core.batch import Bag, Batch, Input, Padded, Repeated
from polyrec.features.derived import Derived
from polyrec.features.feature import Feature

MASK = ".mask"
NEW_ITEM = "item.new"
NONE = -1
"""Padding of a row of several values."""

FEWEST = 2
"""Smallest padded number of values: `torch.export` specialises a graph to a size of 1."""

BATCH, VALUES = "batch", "values"
"""Names of the dynamic dimensions: rows, and values per row."""


def flatten(batch: Batch, features: Sequence[Feature]) -> dict[str, Tensor]:
    """Return a batch's inputs as tensors by name, in the order of the features."""
    tensors: dict[str, Tensor] = {}
    for feature in features:
        values = batch.inputs.get(feature.name)
        if isinstance(values, Padded):
            assert isinstance(feature, Derived) and feature.longest is not None
            short = feature.longest - values.mask_BL.shape[1]
            elements, filler = _tensor(values.elements), NONE if isinstance(values.elements, Bag) else 0
            is_real = values.mask_BL.flatten()[(...,) + (None,) * (elements.dim() - 1)]
            elements = torch.where(is_real, elements, filler).unflatten(0, values.mask_BL.shape)
            tensors[feature.name] = functional.pad(elements, (0, 0) * (elements.dim() - 2) + (short, 0), value=filler)
            tensors[feature.name + MASK] = functional.pad(values.mask_BL, (short, 0))
        elif values is not None:
            tensors[feature.name] = _tensor(values)
    return tensors


def unflatten(tensors: Mapping[str, Tensor], features: Sequence[Feature]) -> Batch:
    """Return the batch of an exported model's inputs; several values per row stay padded."""
    inputs: dict[str, Input] = {}
    for feature in features:
        if feature.name + MASK in tensors:
            inputs[feature.name] = Padded(tensors[feature.name].flatten(0, 1), tensors[feature.name + MASK])
        elif feature.name in tensors:
            inputs[feature.name] = tensors[feature.name]
    return Batch(inputs, {}, {}, next(iter(tensors.values())).shape[0])


def shapes(batch: Batch, features: Sequence[Feature]) -> dict[str, tuple[str | int, ...]]:
    """Return the shape of each input by name; dynamic dimensions are given by name."""
    result: dict[str, tuple[str | int, ...]] = {}
    for name, tensor in flatten(batch, features).items():
        values = batch.inputs.get(name)
        elements = values.elements if isinstance(values, Padded) else values
        inner = tensor.shape[1:-1] if isinstance(elements, Bag) else tensor.shape[1:]
        result[name] = (BATCH, *inner, *([VALUES] if isinstance(elements, Bag) else []))
    return result


def _tensor(values: Input) -> Tensor:
    """Return one tensor for a value, a vector or several values per row; integers have 64 bits."""
    if isinstance(values, Tensor):
        return values if values.is_floating_point() else values.long()
    if isinstance(values, Repeated):
        return _tensor(values.elements).index_select(0, values.index_B)
    assert isinstance(values, Bag), "a declaration refuses a history of histories"
    ends_B = torch.cat([values.offsets_B[1:], torch.tensor([len(values.values)])])
    lengths_B = ends_B - values.offsets_B
    place_V = torch.arange(max(int(lengths_B.max()) if len(lengths_B) else 0, FEWEST))
    is_real_BV = place_V < lengths_B[:, None]
    padded_BV = torch.full(is_real_BV.shape, NONE)
    padded_BV[is_real_BV] = values.values.long()
    return padded_BV


def dynamic_shapes(named: Mapping[str, tuple[str | int, ...]]) -> dict[str, dict[int, Any]]:
    """Return the dynamic dimensions of each input, in the form of `torch.export`."""
    batch = torch.export.Dim(BATCH)
    dynamic: dict[str, dict[int, Any]] = {}
    for number, (name, shape) in enumerate(named.items()):
        dynamic[name] = {0: batch}
        if shape[-1] == VALUES:
            dynamic[name][len(shape) - 1] = torch.export.Dim(f"{VALUES}_{number}")
    return dynamic
