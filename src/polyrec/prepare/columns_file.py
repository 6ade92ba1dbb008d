"""Tensors in one file, mapped into memory; and prepared rows as a tree of tensor positions in such a file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from polyrec.core import batch
from polyrec.core.batch import Column
from polyrec.data.prepared import Items, Prepared

ALIGNMENT = 64
"""Alignment in bytes of the start of every tensor."""

Place = list[Any]
"""Position of a tensor in the file: offset in bytes, type, shape."""

_COLUMNS: dict[str, Callable[..., Column]] = {
    kind.__name__: kind for kind in (batch.Dense, batch.Indexed, batch.Lookup, batch.Paired, batch.Ragged, batch.Sequence)
}


class ColumnsWriter:
    """Writes tensors to a file and returns them mapped from it, so that no tensor has to stay in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, path.open("wb")
        self.places: dict[int, tuple[Tensor, Place]] = {}

    def __call__(self, tensor: Tensor) -> Tensor:
        if id(tensor) in self.places:
            return tensor
        values = tensor.detach().contiguous().numpy()
        offset = -(-self.file.tell() // ALIGNMENT) * ALIGNMENT
        self.file.write(bytes(offset - self.file.tell()))
        self.file.write(values.reshape(-1).view(np.uint8).data)
        self.file.flush()
        place = [offset, values.dtype.name, list(values.shape)]
        mapped = self._mapped(tensor, offset)
        self.places[id(mapped)] = mapped, place
        return mapped

    def _mapped(self, tensor: Tensor, offset: int) -> Tensor:
        """Map the tensor just written, without an open file per tensor; a private mapping would reserve memory."""
        if tensor.numel() == 0:
            return tensor.clone()
        end = self.file.tell()
        bytes_of_file = torch.from_file(str(self.path), shared=True, size=end, dtype=torch.uint8)
        return bytes_of_file[offset:end].view(tensor.dtype).view(tensor.shape)

    def __enter__(self) -> ColumnsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()
        self.places.clear()

    def tree(self, prepared: Prepared) -> dict[str, Any]:
        """Return the positions of all tensors of prepared rows; this writer must have written each of them."""
        parts = {
            "columns": {name: self._column(column) for name, column in prepared.columns.items()},
            "targets": {name: self.place(target) for name, target in prepared.targets.items()},
            "masks": {name: self.place(mask) for name, mask in prepared.masks.items()},
            "rows": prepared.rows,
            "group": None if prepared.group_N is None else self.place(prepared.group_N),
        }
        if len(prepared.items.rows_I):
            parts["items"] = self.place(prepared.items.rows_I)
            parts["item_targets"] = {name: self.place(target) for name, target in prepared.items.targets.items()}
        return parts

    def place(self, tensor: Tensor) -> Place:
        """Return the position of a tensor that this writer wrote."""
        return self.places[id(tensor)][1]

    def _column(self, column: Column) -> dict[str, Any]:
        assert type(column).__name__ in _COLUMNS, f"a column of the kind {type(column).__name__} cannot be written"
        parts = {field.name: getattr(column, field.name) for field in fields(column)}  # type: ignore[arg-type]
        places = {name: self.place(part) if isinstance(part, Tensor) else self._column(part) for name, part in parts.items()}
        return {"kind": type(column).__name__, **places}


def read_tree(file: IO[bytes], tree: Mapping[str, Any]) -> Prepared:
    """Map prepared rows from a file, read-only; pages are loaded on first access."""
    bytes_of_file = _map(file)

    def tensor(place: Place) -> Tensor:
        offset, kind, shape = place
        end = offset + int(np.prod(shape)) * np.dtype(kind).itemsize
        return bytes_of_file[offset:end].view(getattr(torch, kind)).view(shape)

    prepared = Prepared(
        _each(tree["columns"], lambda column: _read_column(column, tensor)),
        _each(tree["targets"], tensor),
        _each(tree["masks"], tensor),
        tree["rows"],
        None if tree["group"] is None else tensor(tree["group"]),
    )
    if "items" in tree:
        return replace(prepared, items=Items(tensor(tree["items"]), _each(tree["item_targets"], tensor)))
    return prepared


def _map(file: IO[bytes]) -> Tensor:
    """Map an entire file as bytes, read-only: the system reserves memory for a writable mapping."""
    if os.fstat(file.fileno()).st_size == 0:
        return torch.zeros(0, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.memmap(file, np.uint8, "r"))


def _read_column(tree: Mapping[str, Any], tensor: Callable[[Place], Tensor]) -> Column:
    parts = {name: part for name, part in tree.items() if name != "kind"}
    values = {name: tensor(part) if isinstance(part, list) else _read_column(part, tensor) for name, part in parts.items()}
    return _COLUMNS[tree["kind"]](**values)


def _each(tree: Mapping[str, Any], read: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: read(part) for name, part in tree.items()}
